import dataclasses
import shutil
import warnings

import keras
import numpy as np
import pytest
from helpers.digit_networks import network, read_weights
from helpers.same_runs import check_same_run

from keras_diffkd import TrainingDivergedError
from keras_diffkd.callbacks import TrainingBackup
from keras_diffkd.recipes import distill, training
from keras_diffkd.recipes.run.checksums import forget_checksum
from keras_diffkd.recipes.run.metrics_log import read_metrics
from keras_diffkd.recipes.run.progress import Progress
from keras_diffkd.resuming.snapshots import Snapshots


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
    assert said.startswith("warning: A snapshot of the training is damaged")
    assert said.count("\n") == 1


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
    assert all(np.isfinite(w).all() for w in read_weights(run / "student.keras"))

    poison.epoch = None
    with pytest.raises(ValueError, match="must be finite.*'logits/bias'"):
        distil(run="bad_end")
    assert not (tmp_path / "bad_end" / "student.keras").exists()
