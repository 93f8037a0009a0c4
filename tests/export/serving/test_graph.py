import tensorflow as tf
from helpers.threads import OtherThread

from keras_diffkd.export.serving.graph import inline_functions


def test_threads_that_inline_functions_leave_the_setting_as_it_was():
    with OtherThread(inline_functions()) as other:
        with inline_functions():
            other.leave()  # The first to enter is the first to leave.
            assert tf.config.functions_run_eagerly()
        assert not tf.config.functions_run_eagerly()


def test_nested_blocks_restore_a_setting_that_was_on():
    tf.config.run_functions_eagerly(True)
    try:
        with inline_functions(), inline_functions():
            pass
        assert tf.config.functions_run_eagerly()
    finally:
        tf.config.run_functions_eagerly(False)
