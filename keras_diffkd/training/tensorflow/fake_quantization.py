"""Rounds tensors to 8-bit ranges with TensorFlow's own operation."""

import tensorflow as tf


def fake_quantize(x, minimum, maximum):
    """Implements `keras_diffkd.training.fake_quantization.fake_quantize`.

    TFLite's converter reads the ranges from this operation.
    """
    return tf.quantization.fake_quant_with_min_max_vars(x, minimum, maximum)
