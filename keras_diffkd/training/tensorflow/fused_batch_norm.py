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
    mean, variance = _float32(layer.moving_mean), _float32(layer.moving_variance)
    if from_batch:
        # The operation moves by the unbiased variance, Keras by the biased one.
        biased = _biased_share(x)
        variance = variance * (1.0 / biased)
    statistics = {"mean": mean, "variance": variance}
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
        layer.moving_variance.assign(variance * biased)
    return tf.cast(outputs, layer.compute_dtype)


def _biased_share(x):
    """Returns `(n - 1) / n` for `n` values of a channel, or 1 if there is only one.

    It is a Python float if the shape is known: operations take time, however small.
    """
    size = x.shape.num_elements()
    channels = x.shape[-1]
    if size is not None:
        return max(size // channels - 1, 1) / (size // channels)
    share = 1.0 - channels / tf.cast(tf.size(x), tf.float32)
    positions = x.shape[1:-1].num_elements()
    if positions is not None and positions > 1:
        return share
    return tf.where(share > 0, share, 1.0)


def _float32(variable):
    return tf.cast(tf.convert_to_tensor(variable), tf.float32)
