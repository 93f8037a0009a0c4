import pytest

from keras_diffkd.recipes.run import experiment
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.resuming.snapshots import Snapshots


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "runs" / "digits")


def back_up(stage):
    Snapshots(stage.checkpoints).write(7, {}, {})


def test_claim_leaves_nothing_behind_when_nothing_comes_of_it(run, parse, tmp_path):
    stage = run.stages()["baseline"]

    def fail():
        with stage.claim():
            assert experiment.read_flags(stage.folder) is not None
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
    parse("--epochs=2", "--seed=1", "--data_dir=elsewhere", "--jit_compile=false")
    with pytest.raises(ValueError, match="another experiment") as error:
        run.stages()["student"].check()
    assert "--epochs was 3, now 2, --temperature was 2.0, now unset." in str(
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
    with pytest.raises(ValueError, match="not empty and is not a run"):
        run.check_is_one()
    experiment.write_flags(run.root, experiment.recorded())
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
    assert run.check_finished() == experiment.recorded()
