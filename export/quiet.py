"""Keeps the chatter of the converters and runtimes off the terminal."""

import contextlib
import logging

import tensorflow as tf

from keras_diffkd.held_stderr import hold_stderr, without_chatter


@contextlib.contextmanager
def quiet():
    """Holds back TensorFlow's logger and everything written to standard error.

    Exceptions pass through. Several threads may be quiet at once.

    Yields:
        A function that returns the text that was held; see `hold_stderr`.

    Example:

    ```python
    with quiet() as held:
        converter.convert()
    ```
    """

    def is_error(record):
        return record.levelno >= logging.ERROR

    # A filter of this call's own, where a level would be shared with other threads.
    logger = tf.get_logger()
    logger.addFilter(is_error)
    try:
        with hold_stderr() as held:
            yield held
    finally:
        logger.removeFilter(is_error)


def last_words(text):
    """Returns the errors in a converter's output, or else its last lines.

    Args:
        text: str.

    Example:

    ```python
    last_words("I0000 starts\\nloc(x): error: no such operation\\n")
    # "loc(x): error: no such operation"
    ```
    """
    lines = without_chatter(text)
    errors = [line for line in lines if "error:" in line.lower()] or lines[-3:]
    return " ".join(errors)[-400:]
