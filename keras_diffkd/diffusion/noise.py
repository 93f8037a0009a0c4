"""Draws noise from a normal distribution."""

import math

import keras


def normal_noise(shape, seed):
    """Returns float32 values drawn from N(0, 1).

    TensorFlow's own normal numbers take a tenth of the time of all that DiffKD adds to
    a step: on CPUs it computes them one by one. This is the same transform of Box and
    Muller in operations on whole tensors, which take half as long.

    Args:
        shape: Shape of the result, as `keras.ops.shape` returns it.
        seed: `keras.random.SeedGenerator`.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.random.normal(shape, dtype="float32", seed=seed)
    *others, last = shape
    half = (*others, -(-last // 2))
    uniform = keras.random.uniform((2, *half), dtype="float32", seed=seed)
    # Uniform numbers may be 0, and never are 1.
    radius = keras.ops.sqrt(-2.0 * keras.ops.log(1.0 - uniform[0]))
    angle = 2.0 * math.pi * uniform[1]
    pairs = [radius * keras.ops.cos(angle), radius * keras.ops.sin(angle)]
    return keras.ops.concatenate(pairs, axis=-1)[..., :last]
