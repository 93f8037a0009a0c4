"""Builds wide residual networks for CIFAR."""

import keras

from keras_diffkd.models import blocks


def wide_resnet(input_shape, num_classes, *, depth, width, name):
    """Builds a Wide ResNet (pre-activation, without dropout).

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Integer.
        depth: Integer, `6 n + 4` with `n` blocks per stage.
        width: Integer, the widening factor.
        name: Name of the model.

    Returns:
        A `keras.Model`. `stage1` to `stage3` are the outputs of the stages (sums before
        the activation). `features` is the last one after the activation.

    Example:

    >>> wide_resnet((32, 32, 3), 100, depth=16, width=2, name="wrn").output_shape
    (None, 100)

    Source: Zagoruyko and Komodakis, "Wide Residual Networks" (arXiv 1605.07146).
    """
    image = keras.Input(input_shape, name="image")
    x = blocks.conv(image, 16, 3, name="stem_conv")
    num_blocks = (depth - 4) // 6
    for stage, filters in enumerate((16 * width, 32 * width, 64 * width), start=1):
        for index in range(1, num_blocks + 1):
            name_ = f"stage{stage}_block{index}"
            output_name = f"stage{stage}" if index == num_blocks else name_
            stride = 2 if stage > 1 and index == 1 else 1
            x = _block(x, filters, stride, name=name_, output_name=output_name)
    x = blocks.relu(blocks.batch_norm(x, name="features_bn"), name="features")
    return blocks.classifier(image, x, num_classes, name=name)


def _block(x, filters, stride, *, name, output_name):
    """Applies BN-ReLU-conv twice, with a shortcut around the convolutions.

    If the shape changes, the shortcut is a 1x1 convolution of the activated input.
    Otherwise it is the input itself.
    """
    y = blocks.relu(blocks.batch_norm(x, name=f"{name}_bn1"), name=f"{name}_relu1")
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = blocks.conv(y, filters, 1, stride, name=f"{name}_shortcut_conv")
    y = blocks.conv(y, filters, 3, stride, name=f"{name}_conv1")
    y = blocks.relu(blocks.batch_norm(y, name=f"{name}_bn2"), name=f"{name}_relu2")
    y = blocks.conv(y, filters, 3, name=f"{name}_conv2")
    return keras.layers.Add(name=output_name)([shortcut, y])
