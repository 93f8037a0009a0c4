"""Words of native converters: not on the terminal, and not lost."""

import os
import threading

import pytest
import tensorflow as tf

from keras_diffkd.export import ExportError, export_student
from keras_diffkd.export.formats.tflite import TFLite
from keras_diffkd.export.quiet import last_words, quiet


def test_words_of_a_native_converter_are_in_the_error(
    helpers, tmp_path, monkeypatch, capfd
):
    def fail(*args, **kwargs):
        os.write(2, b"I0000 00:00:1 a.cc:1] Converting\nloc(x): error: no tf.X here\n")
        raise RuntimeError("See the console.")

    monkeypatch.setattr(TFLite, "write", fail)
    with pytest.raises(ExportError) as caught:
        export_student(helpers.make_student(), tmp_path / "export", ["tflite"])
    expected = "Received: See the console. It wrote: loc(x): error: no tf.X here"
    assert expected in str(caught.value)
    assert "Converting" not in capfd.readouterr().err


def test_errors_are_the_last_words_or_else_the_last_lines():
    assert last_words("one\nthe error: x\ntwo\n") == "the error: x"
    assert last_words("1\n2\n\n3\n4\nI0000 00:00:1 a.cc:1] done\n") == "2 3 4"
    assert last_words("") == ""


def test_threads_that_are_quiet_leave_the_logger_as_it_was(caplog):
    inside, outside = threading.Event(), threading.Event()

    def second():
        with quiet():
            inside.set()
            outside.wait(10)

    thread = threading.Thread(target=second)
    with quiet():
        thread.start()
        assert inside.wait(10)
        tf.get_logger().warning("held")
    tf.get_logger().warning("held by the second")
    outside.set()
    thread.join()
    tf.get_logger().error("an error")
    tf.get_logger().warning("shown")
    assert [r.getMessage() for r in caplog.records] == ["an error", "shown"]
