"""Defines the blocks that the models of the zoo share.

They follow the reference implementations of the distillation literature: symmetric
padding (Keras's "same" pads strided convolutions more on the right and bottom), no bias
before batch normalization, epsilon 1e-5 and momentum 0.9.
"""

import keras

from keras_diffkd.layers.torch_like import fan_in_uniform


def kaiming_fan_out():
    """Returns a new normal initializer with variance `2 / fan_out`.

    Each layer needs its own, because a Keras initializer draws the same values every
    time it is used.

    Source: He et al., "Delving Deep into Rectifiers" (arXiv 1502.01852).
    """
    return keras.initializers.VarianceScaling(
        scale=2.0, mode="fan_out", distribution="untruncated_normal"
    )


def pad(x, kernel_size, stride, name):
    """Pads a feature map symmetrically for a strided window.

    Args:
        x: Feature map `(batch, height, width, channels)`.
        kernel_size: Integer, the odd side of the window.
        stride: Integer, the stride of the window.
        name: Name of the padding layer.

    Returns:
        `(x, padding)`: the feature map, padded if `stride > 1`, and the `padding`
        argument of the next layer, "same" or "valid".
    """
    if stride == 1:
        return x, "same"
    if kernel_size > 1:
        x = keras.layers.ZeroPadding2D(
            kernel_size // 2, data_format="channels_last", name=name
        )(x)
    return x, "valid"


def conv(x, filters, kernel_size, stride=1, *, name, initializer=None):
    """Applies a convolution without bias and with symmetric padding.

    Args:
        x: Feature map `(batch, height, width, channels)`.
        filters: Integer, the number of output channels.
        kernel_size: Integer, the odd side of the kernel.
        stride: Integer.
        name: Name of the layer. A padding layer adds "_pad" to it.
        initializer: Initializer of the kernel. Defaults to `kaiming_fan_out`.
    """
    x, padding = pad(x, kernel_size, stride, f"{name}_pad")
    return keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding=padding,
        use_bias=False,
        data_format="channels_last",
        kernel_initializer=initializer or kaiming_fan_out(),
        name=name,
    )(x)


def batch_norm(x, *, name):
    """Applies batch normalization with epsilon 1e-5 and momentum 0.9."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def relu(x, *, name):
    """Applies a ReLU."""
    return keras.layers.ReLU(name=name)(x)


def classifier(image, features, num_classes, *, name):
    """Ends a model with average pooling and a dense layer `logits` in float32.

    Args:
        image: The model's input.
        features: Last feature map `(batch, height, width, channels)`.
        num_classes: Integer.
        name: Name of the model.

    Returns:
        `keras.Model` from `image` to logits `(batch, num_classes)`. Kernel and bias of
        the dense layer are uniform in `±1 / sqrt(fan_in)`.
    """
    fan_in = features.shape[-1]
    x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="pool")(
        features
    )
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=fan_in_uniform(fan_in),
        bias_initializer=fan_in_uniform(fan_in),
        dtype="float32",
        name="logits",
    )(x)
    return keras.Model(image, logits, name=name)
