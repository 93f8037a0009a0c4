import json

import keras
import numpy as np

from keras_diffkd.recipes.run import metrics_log
from keras_diffkd.recipes.run.metrics_log import MetricsLog, read_metrics


class StandIn:
    """What the callback reads of a model."""

    optimizer = keras.optimizers.SGD(0.25)


def run_epochs(callback, epochs, logs):
    callback.set_model(StandIn())
    for epoch in epochs:
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()


def test_metrics_log_writes_a_line_an_epoch(tmp_path):
    path = tmp_path / "metrics.jsonl"
    run_epochs(MetricsLog(path), [0, 1], {"loss": np.float32(0.5), "val_loss": 2.0})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[0]["loss"] == 0.5
    assert lines[0]["val_loss"] == 2.0
    assert lines[0]["learning_rate"] == 0.25
    assert lines[0]["seconds"] >= 0


def test_metrics_log_drops_epochs_that_are_done_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    run_epochs(MetricsLog(path), [0, 1, 2], {"loss": 1.0})
    with path.open("a") as file:
        file.write('{"epoch": 4, "lo')
    run_epochs(MetricsLog(path), [2, 3], {"loss": 7.0})
    lines = read_metrics(path)
    assert [(line["epoch"], line["loss"]) for line in lines] == [
        (1, 1.0),
        (2, 1.0),
        (3, 7.0),
        (4, 7.0),
    ]


def test_the_seconds_of_an_epoch_in_two_parts_are_those_of_both(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(metrics_log.time, "monotonic", lambda: now[0])
    first, second = (MetricsLog(tmp_path / "metrics.jsonl") for _ in range(2))
    for callback in (first, second):
        callback.set_model(StandIn())
        callback.on_epoch_begin(0)
    now[0] += 4.0
    state = first.get_state()
    now[0] = 7.0  # The clock of another machine.
    second.set_state(state)
    now[0] += 2.5
    second.on_epoch_end(0, {"loss": 1.0})
    [line] = read_metrics(tmp_path / "metrics.jsonl")
    assert line["seconds"] == 6.5
