"""Rules for layers and operations that keep channels where they are."""

import keras
import numpy as np

from keras_diffkd.pruning.labels import axis_of
from keras_diffkd.pruning.rules.activations import fix_mixed
from keras_diffkd.pruning.rules.call import Change


def same(call):
    """Each output channel comes from the same input channel."""
    return Change([call.inputs[0]])


def activation(call):
    """Activation layers with a function."""
    fix_mixed(call, call.inputs[0])
    return Change([call.inputs[0]])


def softmax(call):
    """Softmax over an axis without channels."""
    layer, labels = call.operation, call.inputs[0]
    axes = np.atleast_1d(layer.axis) % labels.ndim
    if axis_of(labels) in axes.tolist():
        return call.keep("a softmax mixes its channels")
    return Change([labels])


def rescaling(call):
    """Rescaling by numbers."""
    layer = call.operation
    if np.size(layer.scale) > 1 or np.size(layer.offset) > 1:
        return call.keep("it is rescaled by a constant array")
    return Change([call.inputs[0]])


_LAYERS = (
    "ActivityRegularization",
    "AlphaDropout",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Dropout",
    "ELU",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "LeakyReLU",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "ReLU",
    "Resizing",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
)
RULES = {
    **{getattr(keras.layers, name): same for name in _LAYERS},
    keras.layers.Activation: activation,
    keras.layers.Softmax: softmax,
    keras.layers.Rescaling: rescaling,
}
OPERATIONS = {
    "Softmax": softmax,
    **dict.fromkeys(
        (
            "Abs",
            "Absolute",
            "Cast",
            "Clip",
            "Elu",
            "Exp",
            "Gelu",
            "HardSigmoid",
            "HardSilu",
            "HardSwish",
            "HardTanh",
            "LeakyRelu",
            "Log",
            "Log1p",
            "Mish",
            "Negative",
            "ReLU",
            "Relu",
            "Relu6",
            "Rsqrt",
            "Selu",
            "Sigmoid",
            "Silu",
            "Softplus",
            "Softsign",
            "Sqrt",
            "Square",
            "Tanh",
        ),
        same,
    ),
}
# Layers that models of Keras and KerasHub define for themselves.
NAMED_RULES = {"DropPath": same, "StochasticDepth": same}
