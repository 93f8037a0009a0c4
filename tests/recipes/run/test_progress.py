import io

import pytest

from keras_diffkd.recipes.run import progress
from keras_diffkd.recipes.run.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def run(callback, clock, first, epochs, seconds):
    callback.set_params({"epochs": epochs, "steps": 2})
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(2):
            clock[0] += seconds / 2
            callback.on_train_batch_end(batch)
        callback.on_epoch_end(epoch, {"loss": 0.5, "other": 1.0, "accuracy": 0.25})
    callback.on_train_end()


def test_a_terminal_line_is_rewritten_and_ends_at_zero(clock):
    stream = Terminal()
    run(Progress("student", stream), clock, 0, 4, seconds=6)
    lines = stream.getvalue().split("\r")
    assert lines[1].startswith("student: epoch 1/4")
    assert "left" not in lines[1]
    assert "epoch 3/4  loss 0.5  accuracy 0.25  6 s left" in stream.getvalue()
    assert lines[-1].rstrip() == (
        "student: epoch 4/4  loss 0.5  accuracy 0.25  0 s left\x1b[K"
    )
    assert stream.getvalue().count("\n") == 1


def test_a_backup_keeps_no_time_of_this_process(clock):
    callback = Progress("student", io.StringIO())
    run(callback, clock, 0, 2, seconds=1)
    before = vars(callback).copy()
    callback.set_state(callback.get_state())
    assert callback.get_state() == {}
    assert vars(callback) == before


def test_a_log_file_gets_a_line_now_and_then_and_the_last_one(clock):
    stream = io.StringIO()
    run(Progress("teacher", stream), clock, 10, 40, seconds=1)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "teacher: epoch 11/40"
    assert lines[1].endswith("20 s left")
    assert lines[-1].startswith("teacher: epoch 40/40")
    assert len(lines) == 4
