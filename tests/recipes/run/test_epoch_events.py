import sys

import keras
from helpers.tensorboard_events import events

from keras_diffkd.recipes.run.epoch_events import EpochEvents


class StandIn:
    """What the callback reads of a model."""

    optimizer = keras.optimizers.SGD(0.25)


def write_epochs(folder, epochs, logs):
    callback = EpochEvents(folder)
    callback.set_model(StandIn())
    for epoch in epochs:
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()


def test_epoch_events_are_what_tensorboard_reads(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # It is not needed.
    logs = {"loss": 0.5, "diffkd/gamma": 0.75, "val_accuracy": 0.25}
    write_epochs(tmp_path, [3], logs)
    assert events(tmp_path / "train") == {
        ("epoch_loss", 3): 0.5,
        ("epoch_diffkd/gamma", 3): 0.75,
        ("epoch_learning_rate", 3): 0.25,
    }
    assert events(tmp_path / "validation") == {("epoch_accuracy", 3): 0.25}


def test_events_of_epochs_that_are_done_again_are_dropped(tmp_path):
    write_epochs(tmp_path, [0, 1, 2], {"val_loss": 1.0})
    [file] = (tmp_path / "validation").iterdir()
    with file.open("ab") as cut_off:
        cut_off.write(file.read_bytes()[:20])
    write_epochs(tmp_path / "other", [1, 2], {"loss": 5.0})
    (tmp_path / "other" / "train").rename(tmp_path / "pictures")
    write_epochs(tmp_path, [1, 2], {"val_loss": 7.0})
    assert events(tmp_path / "validation") == {
        ("epoch_loss", 0): 1.0,
        ("epoch_loss", 1): 7.0,
        ("epoch_loss", 2): 7.0,
    }
    assert events(tmp_path / "pictures") == {
        ("epoch_loss", 1): 5.0,
        ("epoch_learning_rate", 1): 0.25,
    }
