"""Classifies layers and operations by how int8 runtimes compute them."""

import enum

import keras

from keras_diffkd.keras_private.layers import is_keras_operation


class Kind(enum.Enum):
    """How an int8 runtime computes an operation."""

    KERNEL = "convolution or matrix product with rounded weights"
    NORMALIZATION = "batch normalization"
    RECTIFIER = "part of the operation before it"
    ELEMENTWISE = "one result with its own scale"
    SAME = "result with the scale of the input"
    CONCATENATION = "inputs and result share a scale"
    EXTREMUM = "inputs and result share a scale, which constants get, too"


# Names of the kernels of each layer.
KERNELS = {
    keras.layers.Conv1D: ("kernel",),
    keras.layers.Conv2D: ("kernel",),
    keras.layers.DepthwiseConv1D: ("kernel",),
    keras.layers.DepthwiseConv2D: ("kernel",),
    keras.layers.SeparableConv1D: ("depthwise_kernel", "pointwise_kernel"),
    keras.layers.SeparableConv2D: ("depthwise_kernel", "pointwise_kernel"),
    keras.layers.Conv2DTranspose: ("kernel",),
    keras.layers.Dense: ("kernel",),
    keras.layers.EinsumDense: ("kernel",),
}
# Operations of which a ReLU after them becomes a part.
FUSING = ("Add", "Subtract", "Multiply")
RECTIFIERS = ("linear", "relu", "relu6")
# Ranges that int8 runtimes prescribe.
FIXED_RANGES = {"sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
ACTIVATIONS = (
    *FIXED_RANGES,
    "elu",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "leaky_relu",
    "silu",
    "swish",
)
_SAME = (
    "AveragePooling1D",
    "AveragePooling2D",
    "Cropping1D",
    "Cropping2D",
    "Flatten",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "Permute",
    "RepeatVector",
    "Reshape",
    "Resizing",
    "UpSampling1D",
    "UpSampling2D",
    "ZeroPadding1D",
    "ZeroPadding2D",
)
_ELEMENTWISE = (
    "Add",
    "Average",
    "ELU",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "LeakyReLU",
    "Multiply",
    "PReLU",
    "Rescaling",
    "Subtract",
)
_LAYERS = {
    **dict.fromkeys(KERNELS, Kind.KERNEL),
    **{getattr(keras.layers, name): Kind.SAME for name in _SAME},
    **{getattr(keras.layers, name): Kind.ELEMENTWISE for name in _ELEMENTWISE},
    keras.layers.BatchNormalization: Kind.NORMALIZATION,
    keras.layers.Concatenate: Kind.CONCATENATION,
    keras.layers.Maximum: Kind.EXTREMUM,
    keras.layers.Minimum: Kind.EXTREMUM,
}
_OPERATIONS = {
    "Concatenate": Kind.CONCATENATION,
    "Maximum": Kind.EXTREMUM,
    "Minimum": Kind.EXTREMUM,
    **dict.fromkeys(
        (
            "AveragePool",
            "ExpandDims",
            "Flatten",
            "GetItem",
            "Max",
            "MaxPool",
            "Pad",
            "Repeat",
            "Reshape",
            "Resize",
            "Split",
            "Squeeze",
            "Transpose",
        ),
        Kind.SAME,
    ),
    **dict.fromkeys(
        (
            "Add",
            "Elu",
            "Gelu",
            "HardSigmoid",
            "HardSilu",
            "HardSwish",
            "LeakyRelu",
            "Mean",
            "Multiply",
            "Sigmoid",
            "Silu",
            "Subtract",
            "Tanh",
        ),
        Kind.ELEMENTWISE,
    ),
    "Relu6": Kind.RECTIFIER,
}


def kind_of(operation):
    """Returns the `Kind` of a layer or operation, or `None` if it stays float.

    A subclass of a layer may compute something else, so the class must be the same.

    Args:
        operation: `keras.Layer` or `keras.Operation`.
    """
    cls = type(operation)
    if getattr(operation, "lora_enabled", False):
        return None
    if cls.__name__ in ("ReLU", "Relu"):
        return _of_relu(operation)
    if not isinstance(operation, keras.layers.Layer):
        return _OPERATIONS.get(cls.__name__) if is_keras_operation(cls) else None
    if cls is keras.layers.Activation:
        name = activation_of(operation)
        if name in RECTIFIERS:
            return Kind.RECTIFIER
        return Kind.ELEMENTWISE if name in ACTIVATIONS else None
    return _LAYERS.get(cls)


def activation_of(operation):
    """Returns the name of the activation function of a layer or operation."""
    activation = getattr(operation, "activation", None)
    if activation is None:
        return type(operation).__name__.lower()
    return getattr(activation, "__name__", type(activation).__name__)


def is_rectifier(operation):
    """Returns whether the results of an operation are 0 or more."""
    is_its_own = getattr(operation, "activation", None) is None
    if is_its_own and kind_of(operation) is not Kind.RECTIFIER:
        return False
    return activation_of(operation) in ("relu", "relu6")


def _of_relu(operation):
    if not (
        isinstance(operation, keras.layers.ReLU) or is_keras_operation(type(operation))
    ):
        return None
    is_plain = (
        getattr(operation, "max_value", None) in (None, 6)
        and not getattr(operation, "negative_slope", 0)
        and not getattr(operation, "threshold", 0)
    )
    return Kind.RECTIFIER if is_plain else Kind.ELEMENTWISE
