"""Rounds tensors to the 256 values of an 8-bit range, with straight-through gradients.

The values are those of TensorFlow's `fake_quant_with_min_max_vars`, which TFLite's
converter reads.
"""

import math

import keras

STEPS = 255


def nudged(minimum, maximum):
    """Returns `(lowest, highest, scale)`: a range in which 0 is one of its values.

    Args:
        minimum: float32 scalar, at most 0.
        maximum: float32 scalar, at least 0.
    """
    scale = (maximum - minimum) / STEPS
    is_empty = keras.ops.equal(minimum, maximum)
    safe = keras.ops.where(is_empty, 1.0, scale)
    from_minimum = -minimum / safe
    # Halves round up: `round` would round them to even numbers.
    zero_point = keras.ops.clip(keras.ops.floor(from_minimum + 0.5), 0.0, STEPS)
    return -zero_point * scale, (STEPS - zero_point) * scale, scale


def fake_quantize(x, minimum, maximum):
    """Rounds a float32 tensor to the 8-bit values of a range.

    The gradient with respect to `x` is 1 inside the range and 0 outside. The range gets
    no gradient.

    Args:
        x: float32 tensor.
        minimum: float32 scalar, at most 0.
        maximum: float32 scalar, at least 0.

    Example:

    >>> x = keras.ops.convert_to_tensor([-1.0, 0.1234, 9.0])
    >>> [round(float(value), 3) for value in fake_quantize(x, 0.0, 2.55)]
    [0.0, 0.12, 2.55]
    """
    minimum, maximum = map(_constant, (minimum, maximum))
    lowest, highest, scale = nudged(minimum, maximum)
    clipped = keras.ops.stop_gradient(keras.ops.clip(x, lowest, highest))
    inside = keras.ops.where((x >= lowest) & (x <= highest), x, clipped)
    rounded = _rounded(clipped, lowest, scale)
    return inside + keras.ops.stop_gradient(rounded - inside)


def learned_fake_quantize(x, minimum, maximum):
    """Rounds a float32 tensor to the 8-bit values of a range that is learned.

    The gradients are those of Learned Step Size Quantization (LSQ) for a range: the
    step size also gets the rounding errors of values inside the range, and the sum is
    divided by the square root of their number.

    Args:
        x: float32 tensor with samples on the first axis.
        minimum: float32 scalar, at most 0.
        maximum: float32 scalar, at least 0.

    Source: Esser et al., Learned Step Size Quantization (ICLR 2020), arXiv:1902.08153.
    """
    size = math.prod(int(axis or 1) for axis in x.shape[1:])
    minimum, maximum = (
        _scaled_gradient(value, 1 / math.sqrt(size * STEPS))
        for value in (minimum, maximum)
    )
    lowest, highest, scale = nudged(*map(_constant, (minimum, maximum)))
    # The nudged range moves with the given one.
    below = lowest + (minimum - keras.ops.stop_gradient(minimum))
    above = highest + (maximum - keras.ops.stop_gradient(maximum))
    is_inside = (x >= lowest) & (x <= highest)
    clipped = keras.ops.where(is_inside, x, keras.ops.where(x < lowest, below, above))
    rounded = _rounded(keras.ops.clip(x, lowest, highest), lowest, scale)
    error = keras.ops.stop_gradient(rounded - clipped)
    step = (maximum - minimum) / STEPS
    growth = step - keras.ops.stop_gradient(step)  # 0, with the gradient of the step.
    in_steps = error / keras.ops.where(keras.ops.equal(scale, 0), 1.0, scale)
    return clipped + error + keras.ops.where(is_inside, in_steps, 0.0) * growth


def _rounded(clipped, lowest, scale):
    inverse = 1.0 / keras.ops.where(keras.ops.equal(scale, 0), 1.0, scale)
    zero = keras.ops.floor(-lowest * inverse + 0.5)
    rounded = keras.ops.floor((clipped - lowest) * inverse - zero + 0.5) * scale
    return keras.ops.stop_gradient(rounded)


def _constant(value):
    return keras.ops.stop_gradient(keras.ops.convert_to_tensor(value, "float32"))


def _scaled_gradient(value, factor):
    value = keras.ops.convert_to_tensor(value, "float32")
    constant = keras.ops.stop_gradient(value)
    return constant + factor * (value - constant)
