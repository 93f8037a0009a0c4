import dataclasses
import shutil
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.tensorboard_events import events

from keras_diffkd import TrainingDivergedError
from keras_diffkd.callbacks import TrainingBackup
from keras_diffkd.recipes import distill, training
from keras_diffkd.recipes.report.records import read_record
from keras_diffkd.recipes.run.checksums import forget_checksum
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.recipes.run.metrics_log import read_metrics
from keras_diffkd.recipes.run.progress import Progress
from keras_diffkd.resuming.snapshots import Snapshots


def network(width, classes=10, size=8, activation=None):
    image = keras.Input((size, size, 1), name="image")
    x = keras.layers.Conv2D(width, 3, strides=2, padding="same")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(classes, activation, name="logits")(x)
    return keras.Model(image, x)


@pytest.fixture
def distil(parse, tmp_path, data_dir):
    """Runs `diffkd-distill` in this process, on files in the temporary folder."""
    network(8).save(tmp_path / "teacher.keras")
    network(4).save(tmp_path / "student.keras")

    def distil(*arguments, run="run"):
        parse(
            f"--run_dir={tmp_path / run}",
            f"--data_dir={data_dir}",
            "--dataset=digits",
            f"--teacher={tmp_path / 'teacher.keras'}",
            f"--student={tmp_path / 'student.keras'}",
            "--steps_per_epoch=2",
            "--epochs=1",
            "--method=kd",
            *arguments,
        )
        distill.main([])
        return tmp_path / run

    return distil


def weights_of(path):
    return keras.models.load_model(path).get_weights()


def test_an_interrupted_training_resumes_as_if_nothing_had_happened(
    distil, monkeypatch, capsys
):
    arguments = ("--epochs=3", "--method=diffkd_logits", "--lr_schedule=cosine")
    arguments += ("--steps_per_epoch=3", "--save_every=2")
    straight = distil(*arguments, run="straight")
    seen = []

    def pull_the_plug(self, batch, logs=None):
        seen.append(batch)
        if len(seen) == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", pull_the_plug)
        with pytest.raises(KeyboardInterrupt):
            distil(*arguments)
        del seen[:]
        resumed = distil(*arguments)
    assert seen == [2, 0, 1, 2]
    assert "after epoch 1, step 2" in capsys.readouterr().out
    check_same_run(straight, resumed)
    before = (resumed / "student.keras").stat().st_mtime_ns
    distil(*arguments)
    assert "nothing to do" in capsys.readouterr().out
    assert (resumed / "student.keras").stat().st_mtime_ns == before


def check_same_run(straight, resumed):
    logs = [read_metrics(run / "metrics.jsonl") for run in (straight, resumed)]
    for ours, theirs in zip(*logs, strict=True):
        assert set(ours) == set(theirs)
        for name in set(ours) - {"seconds"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5), name
    students = [weights_of(run / "student.keras") for run in (straight, resumed)]
    for ours, theirs in zip(*students, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    assert set(events(resumed / "tensorboard" / "train")) == set(
        events(straight / "tensorboard" / "train")
    )


def test_what_was_trained_is_only_written_when_it_could_not_be(distil, monkeypatch):
    straight = distil("--epochs=2", run="straight")

    def no_space(model, path):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_model", no_space)
        with pytest.raises(OSError, match="disk full"):
            distil("--epochs=2")

    def train_again(self, batch, logs=None):
        raise AssertionError("it was trained already")

    monkeypatch.setattr(Progress, "on_train_batch_end", train_again)
    check_same_run(straight, distil("--epochs=2"))


def test_other_data_and_other_teachers_are_refused(distil, tmp_path, monkeypatch):
    def no_space(model, path):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_model", no_space)
        with pytest.raises(OSError, match="disk full"):
            distil()
    kept = sorted((tmp_path / "run" / "checkpoints").iterdir())
    load_data = distill.load_data

    def load_fewer():
        return dataclasses.replace(load_data(), num_train_examples=7)

    with monkeypatch.context() as patch:
        patch.setattr(distill, "load_data", load_fewer)
        with pytest.raises(ValueError, match="data.num_train_examples was .*, now 7"):
            distil()
    keras.utils.set_random_seed(9)
    for path in (tmp_path / "teacher.keras", tmp_path / "run" / "teacher.keras"):
        network(8).save(path)
    shutil.copy(tmp_path / "teacher.keras", tmp_path / "run" / "teacher.keras")
    forget_checksum(tmp_path / "run" / "teacher.keras")
    said = "another training: teacher .SHA-256.*run/teacher.keras, is not .*--run_dir"
    with pytest.raises(ValueError, match=said):
        distil()
    assert sorted((tmp_path / "run" / "checkpoints").iterdir()) == kept


def test_a_damaged_backup_is_a_line_on_stderr(parse, tmp_path, capsys):
    snapshots = Snapshots(tmp_path)
    for step in (1, 2):
        state = {"epoch": step, "step_in_epoch": 0, "step": step}
        snapshots.write(step, {}, state)
    (snapshots.paths()[-1] / "variables.npz").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert training._position(TrainingBackup(tmp_path)).step == 1
    said = capsys.readouterr().err
    assert said.startswith("warning: A backup of the training is damaged")
    assert said.count("\n") == 1


def test_the_baseline_is_the_student_with_the_same_start_and_data(distil, tmp_path):
    """With nothing to learn from the teacher, both trainings are the same."""
    run = distil("--distill_weight=0", "--baseline", "--student=digits_student")
    for ours, theirs in zip(
        weights_of(run / "student.keras"),
        weights_of(run / "baseline" / "student.keras"),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    # The teacher that was given is kept as it was.
    kept, given = run / "teacher.keras", tmp_path / "teacher.keras"
    assert kept.read_bytes() == given.read_bytes()


def test_the_student_alone_needs_no_teacher(distil):
    run = distil("--method=none", "--teacher=nowhere.keras")
    assert (run / "student.keras").is_file()
    assert not (run / "teacher.keras").exists()


def test_another_experiment_in_the_same_folder_is_refused(distil):
    run = distil("--method=none")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with pytest.raises(ValueError, match="--epochs was 1, now 2"):
        distil("--method=none", "--epochs=2")
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


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


def test_a_training_that_diverges_leaves_its_batch_alone(distil, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(TrainingDivergedError, match="diverged in step . of epoch 1.*"):
        distil("--learning_rate=1e30", "--steps_per_epoch=4")
    assert [path.name for path in run.iterdir()] == ["failed_batch.npz"]
    with np.load(run / "failed_batch.npz", allow_pickle=False) as batch:
        assert batch["x"].shape == (64, 8, 8, 1)
        assert batch["y"].shape == (64,)
        assert "diverged" in str(batch["error"])
    # Another attempt in the same folder is welcome.
    distil()
    assert (run / "student.keras").exists()
    assert not (run / "failed_batch.npz").exists()


class Poison(keras.callbacks.Callback):
    """Makes a weight of the student NaN at the beginning of an epoch, or at the end."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.poison()

    def on_train_end(self, logs=None):
        if self.epoch is None:
            self.poison()

    def poison(self):
        bias = self.model.student.get_layer("logits").bias
        bias.assign(bias * np.nan)


def test_a_training_that_diverges_keeps_the_last_good_checkpoint(
    distil, tmp_path, monkeypatch, capsys
):
    callbacks, poison = training._callbacks, Poison(epoch=1)
    monkeypatch.setattr(
        training, "_callbacks", lambda *args: [*callbacks(*args), poison]
    )
    run = tmp_path / "run"
    said = f"epoch 2.*the weight 'logits/bias'.*The batch is in {run}/failed_batch.npz"
    with pytest.raises(TrainingDivergedError, match=said):
        distil("--epochs=2")
    assert not (run / "student.keras").exists()
    assert [line["epoch"] for line in read_metrics(run / "metrics.jsonl")] == [1]

    poison.epoch = 5
    distil("--epochs=2")
    assert "after epoch 1" in capsys.readouterr().out
    assert [line["epoch"] for line in read_metrics(run / "metrics.jsonl")] == [1, 2]
    assert all(np.isfinite(w).all() for w in weights_of(run / "student.keras"))

    poison.epoch = None
    with pytest.raises(ValueError, match="must be finite.*'logits/bias'"):
        distil(run="bad_end")
    assert not (tmp_path / "bad_end" / "student.keras").exists()


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
    distil, monkeypatch
):
    teachers = []
    original = distill.build_distiller

    def build_distiller(student, data, teacher=None, methods=()):
        teachers.append(teacher)
        return original(student, data, teacher, methods)

    monkeypatch.setattr(distill, "build_distiller", build_distiller)
    run = distil("--teacher_dtype=mixed_bfloat16")
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
    with pytest.raises(ValueError, match="'hub:no_such_preset': there is no Image"):
        distil("--teacher=hub:no_such_preset")


def test_seeds_repeat_the_run_with_the_same_teacher(distil, tmp_path, capsys):
    run = distil("--seeds=2", "--baseline", "--seed=4")
    folders = [run, run / "seeds" / "5"]
    students = [weights_of(folder / "student.keras") for folder in folders]
    alone = [weights_of(folder / "baseline" / "student.keras") for folder in folders]
    for first, second in (students, alone):
        assert any(np.any(a != b) for a, b in zip(first, second, strict=True))
    teachers = [weights_of(folder / "teacher.keras") for folder in folders]
    for first, second in zip(*teachers, strict=True):
        np.testing.assert_array_equal(second, first)
    record = read_record(RunDirectory(run), run / "export")
    assert len(record.seeds) == 2
    assert not record.skipped
    capsys.readouterr()
    shutil.copytree(run, tmp_path / "moved")
    for place in ("run", "moved"):
        distil("--seeds=2", "--baseline", "--seed=4", run=place)
        assert capsys.readouterr().out.count("nothing to do") == 2


def test_a_damaged_model_is_not_finished(distil):
    path = distil("--method=none") / "student.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="student.keras' is corrupt or was changed"):
        distil("--method=none")


def test_a_seed_alone_gives_what_it_gives_among_others(distil):
    together = distil("--seeds=2", "--method=none", run="together")
    alone = distil("--seed=1", "--method=none", run="alone")
    for ours, theirs in zip(
        weights_of(together / "seeds" / "1" / "student.keras"),
        weights_of(alone / "student.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
