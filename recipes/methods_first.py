"""Trains the methods' own layers before the student.

New layers, such as DiffKD's projection, autoencoder and denoiser, pull a student that
is already trained toward random features until they have learned something.
"""

import contextlib

from keras_diffkd.keras_private.layers import all_layers

from . import flags


@contextlib.contextmanager
def frozen(student):
    """Keeps a student as it is: its weights and the statistics of its normalization.

    Args:
        student: `keras.Model`.
    """
    # Parents come before the layers inside them, as setting `trainable` needs it.
    before = [(layer, layer.trainable) for layer in all_layers(student)]
    student.trainable = False
    try:
        yield
    finally:
        for layer, trainable in before:
            layer.trainable = trainable


def are_wanted(distiller):
    """Returns whether `--method_epochs` train something.

    Args:
        distiller: `Distiller`.
    """
    has_layers = any(method.trainable_variables for method in distiller.methods)
    return bool(flags.METHOD_EPOCHS.value and has_layers)
