"""Runs batch normalization as one operation in TensorFlow graphs without XLA."""

import keras
import tensorflow as tf

from keras_diffkd.features.hooks import CallShadow
from keras_diffkd.keras_private.layers import all_layers

_NONE = {"mean": (), "variance": ()}


def fused(*layers):
    """Implements `keras_diffkd.training.fused_batch_normalization`."""
    return _shadow.over(
        layer
        for outer in layers
        for layer in all_layers(outer)
        if type(layer) is keras.layers.BatchNormalization
    )


def _fusing(layer, plain):
    def call(inputs, training=None, mask=None):
        if mask is None and _fits(layer, inputs, training):
            return _normalize(layer, inputs, training)
        return plain(inputs, training=training, mask=mask)

    return call


_shadow = CallShadow(_fusing)


def _fits(layer, inputs, training):
    """Returns whether the fused operation gives the same result as the layer."""
    return (
        len(inputs.shape) == 4
        and layer.axis in (-1, 3)
        and keras.backend.standardize_dtype(inputs.dtype) != "float64"
        and not layer.renorm
        and not (layer.synchronized and training)
    )


def _normalize(layer, inputs, training):
    x = tf.cast(inputs, tf.float32)
    channels = [x.shape[-1]]
    from_batch = bool(training and layer.trainable)
    statistics = {
        "mean": _float32(layer.moving_mean),
        "variance": _float32(layer.moving_variance),
    }
    # The operation takes no old statistics that it would not keep a part of.
    moves = from_batch and layer.momentum != 0
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=_float32(layer.gamma) if layer.scale else tf.ones(channels),
        offset=_float32(layer.beta) if layer.center else tf.zeros(channels),
        epsilon=layer.epsilon,
        exponential_avg_factor=1.0 - layer.momentum if moves else 1.0,
        is_training=from_batch,
        **(statistics if moves or not from_batch else _NONE),
    )
    if from_batch:
        layer.moving_mean.assign(mean)
        # The operation moves by the unbiased variance, Keras by the biased one.
        kept = statistics["variance"] * layer.momentum
        count = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
        layer.moving_variance.assign(variance + (kept - variance) / count)
    return tf.cast(outputs, layer.compute_dtype)


def _float32(variable):
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)
