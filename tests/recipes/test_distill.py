import dataclasses
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.digit_networks import network, read_weights
from helpers.same_runs import check_same_run

from keras_diffkd.datasets import load_classification
from keras_diffkd.recipes import distill, distilling, evaluate, teacher_speed, training
from keras_diffkd.recipes.report.records import read_record
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.recipes.run.experiment import read_flags
from keras_diffkd.recipes.run.metrics_log import read_metrics
from keras_diffkd.recipes.run.progress import Progress


def test_the_student_alone_needs_no_teacher(distil):
    run = distil("--method=none", "--teacher=nowhere.keras")
    assert (run / "student.keras").is_file()
    assert not (run / "teacher.keras").exists()


def test_another_experiment_in_the_same_folder_is_refused(distil):
    run = distil("--method=none")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(ValueError, match="--learning_rate was 0.05, now 0.1"):
        distil("--method=none", "--epochs=2", "--learning_rate=0.1")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_more_epochs_continue_a_finished_run(distil, monkeypatch, capsys):
    """Also one that could not be written: then nothing is trained again."""
    arguments = ("--method=none", "--save_every=1")
    run = distil(*arguments)
    before = read_weights(run / "student.keras")

    def no_space(model, path):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_model", no_space)
        with pytest.raises(OSError, match="disk full"):
            distil(*arguments, "--epochs=2")
    assert read_flags(run)["epochs"] == "1"
    for ours, theirs in zip(read_weights(run / "student.keras"), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    def train_again(self, batch, logs=None):
        raise AssertionError("it was trained already")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", train_again)
        distil(*arguments, "--epochs=2")
    assert read_flags(run)["epochs"] == "2"
    assert [line["epoch"] for line in read_metrics(run / "metrics.jsonl")] == [1, 2]
    at_once = distil(*arguments, "--epochs=2", run="at_once")
    check_same_run(at_once, run)
    for ours, theirs in zip(
        read_weights(run / "student.keras"),
        read_weights(at_once / "student.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    capsys.readouterr()
    distil(*arguments, "--epochs=2")
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--epochs was 2, now 1"):
        distil(*arguments)


def test_a_schedule_that_ends_is_not_continued(distil):
    distil("--method=none", "--lr_schedule=cosine")
    with pytest.raises(ValueError, match="--epochs was 1, now 2.*constant or step"):
        distil("--method=none", "--lr_schedule=cosine", "--epochs=2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run_dir="], "--run_dir is required"),
        (["--dataset="], "--dataset is required"),
        (["--teacher="], "--teacher is required"),
        (["--student="], "--student is required"),
        (["--method=magic"], "--method must be of none, kd"),
        (["--strategy=multi_worker"], "needs the environment variable TF_CONFIG"),
        (["--dataset=digitz"], "digitz"),
        (["--dataset=cifar100"], "--download"),
        (["--train_split=train[:0]"], "no examples"),
        (["--student=resnet21"], "resnet20"),
        (["--teacher=resnet21"], "resnet20"),
        (["--teacher=digits_teacher"], "run diffkd-train-teacher"),
        (["--teacher=nowhere.keras"], "nowhere.keras"),
        (["--teacher_tap=featurez", "--method=fitnet"], "featurez"),
        (["--temperature=0"], "temperature"),
        (["--learning_rate=-1"], "--learning_rate must be positive"),
        (["--latent_channels=4000", "--method=diffkd"], "latent_channels"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_refuses_and_writes_nothing(distil, tmp_path, arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        distil(*arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "method", "message"),
    [
        ({"classes": 5}, "kd", "5"),
        ({"size": 16}, "fitnet", "16"),
        ({"activation": "softmax"}, "kd", "probabilit"),
    ],
    ids=["classes", "input", "softmax"],
)
def test_refuses_a_teacher_that_does_not_fit(
    distil, tmp_path, changes, method, message
):
    network(8, **changes).save(tmp_path / "other.keras")
    other = f"--teacher={tmp_path / 'other.keras'}"
    with pytest.raises(ValueError, match=message):
        distil(other, f"--method={method}")
    assert not (tmp_path / "run").exists()


def test_features_can_be_learned_from_a_teacher_of_other_classes(distil, tmp_path):
    network(8, classes=5).save(tmp_path / "other.keras")
    run = distil(f"--teacher={tmp_path / 'other.keras'}", "--method=fitnet")
    assert (run / "student.keras").is_file()


@pytest.mark.parametrize("cut", [0, 1000])
def test_refuses_a_corrupt_teacher(distil, tmp_path, cut):
    path = tmp_path / "teacher.keras"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="teacher.keras"):
        distil()
    assert not (tmp_path / "run").exists()


def test_refuses_another_teacher_than_that_of_the_run(distil, tmp_path):
    (tmp_path / "run").mkdir()
    network(8).save(tmp_path / "run" / "teacher.keras")
    with pytest.raises(ValueError, match="is not the model of --teacher"):
        distil()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["teacher.keras"]


def test_a_wrong_label_in_the_data_leaves_nothing_behind(distil, tmp_path, monkeypatch):
    load_data = distill.load_data

    def with_wrong_labels():
        data = load_data()
        wrong = data.train.map(lambda image, label: (image, label + 7))
        return dataclasses.replace(data, train=wrong)

    monkeypatch.setattr(distill, "load_data", with_wrong_labels)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="abels"):
        distil()
    assert not (tmp_path / "run").exists()


def test_the_precision_is_that_of_the_flag(distil, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "save_model", lambda model, path: seen.append(model))
    arguments = ("--precision=mixed_bfloat16", "--method=none", "--seeds=2")
    distil(*arguments, "--student=digits_student")
    assert len(seen) == 2
    for student in seen:
        assert student.get_layer("features").compute_dtype == "bfloat16"
        assert student.get_layer("logits").compute_dtype == "float32"


def test_the_teacher_computes_in_its_own_dtype_and_its_file_does_not(
    distil, monkeypatch, capsys
):
    teachers = []

    def seconds_per_run(functions, images):
        first, second = (function(images) for function in functions)
        np.testing.assert_allclose(first, second, atol=0.05 * np.ptp(first))
        return [0.1, 0.316]

    monkeypatch.setattr(teacher_speed, "seconds_per_run", seconds_per_run)
    original = distilling.build_distiller

    def build_distiller(student, data, teacher, methods, **arguments):
        teachers.append(teacher)
        return original(student, data, teacher, methods, **arguments)

    monkeypatch.setattr(distilling, "build_distiller", build_distiller)
    run = distil("--teacher_dtype=mixed_bfloat16")
    said = capsys.readouterr().err
    assert "warning: --teacher_dtype=mixed_bfloat16 makes the teacher slower" in said
    assert "3.16 times as long" in said
    [teacher] = teachers
    assert teacher.get_layer("features").compute_dtype == "bfloat16"
    kept = keras.models.load_model(run / "teacher.keras")
    assert kept.get_layer("features").compute_dtype == "float32"
    student = keras.models.load_model(run / "student.keras")
    assert {layer.compute_dtype for layer in student.layers} == {"float32"}


def test_pictures_of_the_features_are_drawn_when_asked_for(distil):
    run = distil("--method=diffkd_features", "--latent_channels=8", "--picture_every=1")
    [picture] = (run / "pictures").iterdir()
    assert picture.name == "diffkd_features_epoch_0001.png"
    assert list((run / "tensorboard" / "pictures").iterdir())


def test_a_preset_that_does_not_exist_is_named_before_anything_is_fetched(distil):
    pytest.importorskip("keras_hub")
    with pytest.raises(ValueError, match="'hub:no_such_preset': it is not the name"):
        distil("--teacher=hub:no_such_preset")


def test_two_processes_do_not_share_a_run(distil, tmp_path):
    run, refused = tmp_path / "run", pytest.raises(ValueError, match="writes to .*run ")
    with RunDirectory(run).locked(), refused:
        distil()
    assert not run.exists()


def accuracies(data_dir, paths):
    """The accuracies of models on the digits' test split, in percent."""
    data = load_classification("digits", data_dir=data_dir, batch_size=445)
    [(images, labels)] = list(data.test.as_numpy_iterator())
    models = [keras.models.load_model(path) for path in paths]
    return [
        100 * np.mean(model(images).numpy().argmax(-1) == labels) for model in models
    ]


def test_seeds_repeat_the_run_with_the_same_teacher(
    distil, parse, tmp_path, data_dir, capsys
):
    settings = ("--baseline", "--distill_weight=0", "--student=digits_student")
    run = distil("--seeds=2", "--seed=4", *settings)
    folders = [run, run / "seeds" / "5"]
    check_baseline_starts_like_the_student(folders)
    students = [read_weights(folder / "student.keras") for folder in folders]
    assert any(np.any(a != b) for a, b in zip(*students, strict=True))
    # The teacher that was given is kept as it was.
    given = (tmp_path / "teacher.keras").read_bytes()
    assert all((folder / "teacher.keras").read_bytes() == given for folder in folders)
    record = read_record(RunDirectory(run), run / "export")
    assert len(record.seeds) == 2
    assert not record.skipped

    parse(f"--run_dir={run}", "--seeds=2", f"--data_dir={data_dir}")
    capsys.readouterr()
    evaluate.main([])
    printed = capsys.readouterr().out
    assert "means over 2 seeds" in printed
    found = accuracies(data_dir, [folder / "student.keras" for folder in folders])
    expected = f"{np.mean(found):.2f}% ± {np.std(found, ddof=1):.2f}"
    [row] = [x for x in printed.splitlines() if x.startswith("distilled student")]
    assert expected in row
    parse(f"--run_dir={run}", "--seeds=3")
    with pytest.raises(FileNotFoundError, match="seeds/6 does not hold a finished"):
        evaluate.main([])

    shutil.copytree(run, tmp_path / "moved")
    for place in ("run", "moved"):
        distil("--seeds=2", "--seed=4", *settings, run=place)
        assert capsys.readouterr().out.count("nothing to do") == 2
    # A seed alone gives what it gives among others.
    alone = distil("--seed=5", *settings[1:], run="alone")
    for ours, theirs in zip(
        read_weights(alone / "student.keras"), students[1], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def check_baseline_starts_like_the_student(folders):
    """With nothing to learn from the teacher, both trainings are the same."""
    for folder in folders:
        for ours, theirs in zip(
            read_weights(folder / "student.keras"),
            read_weights(folder / "baseline" / "student.keras"),
            strict=True,
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_damaged_model_is_not_finished(distil):
    path = distil("--method=none") / "student.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="student.keras' is corrupt or was changed"):
        distil("--method=none")
