"""Limits the weights of a model that is being built to those in its file."""

import contextlib
import math

from keras_diffkd.errors import UnsafeModelError
from keras_diffkd.keras_private.patches import watched_weights

# Weights that the file may lack: those of metrics and of a distiller's teacher.
SPARE_WEIGHTS = 2**27
# Smaller arrays count as this size, to limit the number of layers too.
SMALLEST = 2**10


@contextlib.contextmanager
def limit_weights(number):
    """Raises as soon as a model that is built inside the block has too many weights.

    Keras creates the weights that a config describes before it reads the weights file.
    A config of a hundred bytes could describe terabytes.

    Args:
        number: Integer, the number of weights in the file. `SPARE_WEIGHTS` more are
            allowed. Each array counts as at least `SMALLEST`.

    Raises:
        UnsafeModelError: Before a weight above the limit is created.

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
                f"plus {SPARE_WEIGHTS} spare ones"
            )

    # Other threads may be building models of their own: they are not counted.
    with watched_weights(count):
        yield
