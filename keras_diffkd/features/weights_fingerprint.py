"""Computes a fingerprint of the weights of a model."""

import hashlib

import keras


def hash_weights(model):
    """Returns the SHA-256 of the dtype, shape and bytes of each weight of a model.

    The states of random generators and metrics are not included, because model files
    do not hold them.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        array = keras.ops.convert_to_numpy(weight)
        digest.update(f"{array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
