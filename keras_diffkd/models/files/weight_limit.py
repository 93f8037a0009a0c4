"""Keeps a model that is being built from taking more memory than its file justifies."""

import contextlib
import math

from keras_diffkd.errors import UnsafeModelError
from keras_diffkd.keras_private.patches import watched_weights

# Weights that need not be in the file: of metrics, and of a distiller's teacher.
SPARE_WEIGHTS = 2**27
# What the smallest array counts, so that not many millions of layers are made.
SMALLEST = 2**10


@contextlib.contextmanager
def limit_weights(number):
    """Raises as soon as a model that is built inside has more weights than that.

    Keras makes the weights that a config asks for, and reads the file of weights
    only then: a config of a hundred bytes could ask for terabytes.

    Args:
        number: Integer, how many weights the file has. `SPARE_WEIGHTS` more may be
            made; arrays count as at least `SMALLEST`.

    Raises:
        UnsafeModelError: Before the first weight above the limit is made.

    Example:

    >>> with limit_weights(10):
    ...     dense = keras.layers.Dense(2).build((None, 4))
    """
    left = number + SPARE_WEIGHTS

    def count(shape):
        nonlocal left
        left -= max(SMALLEST, math.prod(abs(size or 1) for size in shape))
        if left < 0:
            raise UnsafeModelError(
                f"the model would have more weights than the {number} in the file "
                f"and {SPARE_WEIGHTS} besides"
            )

    # Other threads may be building models of their own: they are not counted.
    with watched_weights(count):
        yield
