import contextlib

import pytest
from helpers.threads import OtherThread

from keras_diffkd.shared_context import SharedContext


def test_the_first_user_enters_and_the_last_one_exits():
    events = []

    @contextlib.contextmanager
    def change():
        events.append("enter")
        yield
        events.append("exit")

    shared = SharedContext(change)
    for _ in range(2):
        with OtherThread(shared.use()) as other, shared.use():
            other.leave()  # The first to enter is the first to leave.
            assert events[-1] == "enter"
        assert events[-1] == "exit"
    assert events == ["enter", "exit"] * 2


def test_a_context_that_fails_to_enter_has_no_user():
    attempts = []

    @contextlib.contextmanager
    def change():
        attempts.append(None)
        if len(attempts) == 1:
            raise RuntimeError("not now")
        yield

    shared = SharedContext(change)
    with pytest.raises(RuntimeError, match="not now"), shared.use():
        pass
    with shared.use():
        assert len(attempts) == 2
