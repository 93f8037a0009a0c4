"""Text that native code writes to file descriptor 2, held and given back."""

import os
import subprocess
import sys
import threading

import pytest

from keras_diffkd import held_stderr
from keras_diffkd.held_stderr import hold_stderr, without_chatter

CHATTER = "I0000 00:00:1 port.cc:1] oneDNN is on\n"


def test_text_is_held_and_can_be_read(capfd):
    with hold_stderr() as held:
        os.write(2, b"native\n")
        assert held() == "native\n"
        os.write(2, b"more\n")
    os.write(2, b"after\n")
    assert held() == "native\nmore\n"
    assert capfd.readouterr().err == "after\n"


def test_an_exception_passes_and_the_descriptor_comes_back(capfd):
    def fail():
        os.write(2, b"why\n")
        raise KeyError("x")

    with pytest.raises(KeyError), hold_stderr() as held:
        fail()
    os.write(2, b"after\n")
    assert held() == "why\n"
    assert capfd.readouterr().err == "after\n"


def test_holders_inside_each_other(capfd):
    with hold_stderr() as outer:
        os.write(2, b"1")
        with hold_stderr() as inner:
            os.write(2, b"2")
        os.write(2, b"3")
    assert (outer(), inner()) == ("123", "2")
    assert capfd.readouterr().err == ""


def test_two_threads_that_overlap(capfd):
    """The first to come is the first to leave, while the other still holds."""
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def second():
        with hold_stderr() as held:
            second_is_in.set()
            first_is_out.wait(10)
            os.write(2, b"of the second\n")
        said.append(held())

    said = []
    thread = threading.Thread(target=second)
    with hold_stderr():
        thread.start()
        assert second_is_in.wait(10)
    first_is_out.set()
    thread.join()
    os.write(2, b"after\n")
    assert said == ["of the second\n"]
    assert capfd.readouterr().err == "after\n"


def test_many_threads_leave_the_descriptor_as_it_was(capfd):
    def hold():
        for _ in range(5):
            with hold_stderr():
                os.write(2, b"x")

    threads = [threading.Thread(target=hold) for _ in range(4)]
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc") else None
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


DIES = """
import os
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("held", {path!r})
held = module_from_spec(spec)
spec.loader.exec_module(held)
with held.hold_stderr():
    os.write(2, {said!r})
    {end}
"""


@pytest.mark.parametrize(
    "end", ["os.abort()", "os._exit(1)", "os.kill(os.getpid(), 9)"]
)
def test_the_words_of_a_process_that_dies_are_shown(end):
    said = CHATTER.encode() + b"F0000 00:00:1 a.cc:1] Check failed\n"
    program = DIES.format(path=held_stderr.__file__, said=said, end=end)
    # The pipe closes when the witness has written, which may be after the death.
    result = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE)
    assert result.returncode != 0
    assert result.stderr == b"F0000 00:00:1 a.cc:1] Check failed\n"


def test_chatter_is_told_from_errors():
    text = (
        "WARNING: All log messages before absl::InitializeLog() is called are written\n"
        f"{CHATTER}\nE0000 00:00:1 a.cc:2] no such thing\nloc(x): error: 'tf.X' \n"
    )
    assert without_chatter(text) == [
        "E0000 00:00:1 a.cc:2] no such thing",
        "loc(x): error: 'tf.X'",
    ]
