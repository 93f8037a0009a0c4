"""What tells the weights of one model from those of another."""

import hashlib

import keras


def hash_weights(model):
    """Returns the SHA-256 of the weights of a model: dtype, shape and bytes of each.

    What is no weight does not count: states of random generators, which no file of a
    model holds, and metrics.

    Example:

    >>> dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> len(hash_weights(dense))
    64
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(f"{array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
