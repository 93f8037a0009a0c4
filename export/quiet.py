"""Keeps the chatter of the converters and runtimes off the terminal."""

import contextlib
import os
import sys

import tensorflow as tf


@contextlib.contextmanager
def quiet():
    """Silences TensorFlow's logger and everything written to standard error.

    The converters and the LiteRT interpreter write from C++ straight to file
    descriptor 2, so redirecting `sys.stderr` would not catch them. Exceptions
    pass through untouched: what matters is in them.

    Example:

    ```python
    with quiet():
        converter.convert()
    ```
    """
    logger = tf.get_logger()
    level = logger.level
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    logger.setLevel("ERROR")
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
        logger.setLevel(level)
