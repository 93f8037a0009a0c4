import keras
import pytest

from keras_diffkd.recipes import flags, run_directory
from keras_diffkd.recipes.checksums import check_checksum
from keras_diffkd.recipes.run_directory import (
    RunDirectory,
    differences,
    read_flags,
    save_model,
    write_flags,
)
from keras_diffkd.resuming.snapshots import TrainingUnits


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "runs" / "digits")


def back_up(stage):
    TrainingUnits(stage.checkpoints).write(7, {}, {})


def test_flags_txt_reads_back_through_absl(parse, tmp_path):
    parse(
        "--dataset=digits",
        "--method=kd,fitnet",
        "--weight_decay=5e-4",
        "--nesterov",
        "--milestones=1,2",
        "--run_dir=a b",
    )
    before = flags.recorded()
    write_flags(tmp_path, before)
    parse(f"--flagfile={tmp_path / 'flags.txt'}")
    assert flags.recorded() == before
    assert flags.METHOD.value == ["kd", "fitnet"]
    assert flags.NESTEROV.value is True
    assert flags.TEMPERATURE.value is None
    assert read_flags(tmp_path) == before


def test_claim_leaves_nothing_behind_when_nothing_comes_of_it(run, parse, tmp_path):
    stage = run.stages()["baseline"]

    def fail():
        with stage.claim():
            assert read_flags(stage.folder) is not None
            (stage.folder / "metrics.jsonl").write_text("half")
            (stage.folder / "tensorboard").mkdir()
            raise ValueError("bad label")

    with pytest.raises(ValueError, match="bad label"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_claim_keeps_what_was_there_before(run, parse):
    run.root.mkdir(parents=True)
    run.teacher.write_text("teacher")
    stage = run.stages()["student"]

    def fail():
        with stage.claim():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in run.root.iterdir()] == ["teacher.keras"]


def test_claim_keeps_a_training_that_can_be_resumed(run, parse):
    stage = run.stages()["student"]

    def fail():
        with stage.claim():
            back_up(stage)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert stage.resumable
    assert not stage.finished
    stage.check()


def test_a_training_with_the_checkpoints_of_before_is_refused(run, parse):
    stage = run.stages()["student"]
    with stage.claim():
        stage.checkpoints.mkdir()
        (stage.checkpoints / "latest.weights.h5").write_text("")
    with pytest.raises(ValueError, match="Keras's BackupAndRestore.*latest.weights.h5"):
        stage.check()
    stage.model_path.write_text("")
    stage.check()  # It is finished.


def test_another_experiment_is_refused_with_the_difference(run, parse):
    parse("--epochs=3", "--seed=1", "--temperature=2")
    with run.stages()["student"].claim():
        pass
    parse("--epochs=5", "--seed=1", "--data_dir=elsewhere", "--jit_compile=false")
    with pytest.raises(ValueError, match="another experiment") as error:
        run.stages()["student"].check()
    assert "--epochs was 3, now 5, --temperature was 2.0, now unset." in str(
        error.value
    )
    parse("--epochs=3", "--seed=1", "--temperature=2", "--data_dir=elsewhere")
    run.stages()["student"].check()


def test_the_teacher_does_not_depend_on_how_it_is_distilled(run, parse):
    parse("--method=kd", "--student=resnet20")
    with run.stages()["teacher"].claim():
        pass
    parse("--method=diffkd", "--student=resnet56")
    run.stages()["teacher"].check()
    parse("--batch_size=3")
    with pytest.raises(ValueError, match="--batch_size was 64, now 3"):
        run.stages()["teacher"].check()


def test_a_teacher_from_elsewhere_is_not_overwritten(run, parse):
    run.root.mkdir(parents=True)
    run.teacher.write_text("mine")
    with pytest.raises(ValueError, match="was not trained by this command"):
        run.stages()["teacher"].check()


def test_a_folder_that_is_no_run_is_refused(run, parse):
    run.check_is_one()
    run.root.mkdir(parents=True)
    run.check_is_one()
    (run.root / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        run.check_is_one()
    write_flags(run.root, flags.recorded())
    run.check_is_one()


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder"):
        RunDirectory(tmp_path / "file").check_is_one()


def test_an_unfinished_run_is_named(run, parse):
    with pytest.raises(FileNotFoundError, match="run diffkd-distill"):
        run.check_finished()
    with run.stages()["student"].claim():
        pass
    with pytest.raises(FileNotFoundError, match="run diffkd-distill"):
        run.check_finished()
    run.student.write_text("")
    assert run.check_finished() == flags.recorded()


def test_save_model_keeps_the_old_file_when_saving_fails(tmp_path, monkeypatch):
    path = tmp_path / "student.keras"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_model(model, path)
    before = path.read_bytes()
    names = ["student.keras", "student.keras.sha256"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    check_checksum(path)

    def cut_off(target):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(model, "save", cut_off)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    check_checksum(path)


def test_a_new_model_is_never_beside_an_old_checksum(tmp_path, monkeypatch):
    path = tmp_path / "student.keras"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    save_model(model, path)

    def killed(*arguments):
        raise RuntimeError

    monkeypatch.setattr(run_directory, "write_checksum", killed)
    with pytest.raises(RuntimeError):
        save_model(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["student.keras"]
    check_checksum(path)


def test_differences_name_what_is_unset():
    text = differences({"a": "1", "b": "2"}, {"a": "1", "c": "3"})
    assert text == "--b was 2, now unset, --c was unset, now 3"
