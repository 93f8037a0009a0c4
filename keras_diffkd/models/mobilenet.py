"""Builds MobileNetV1, the ImageNet student of the distillation literature."""

import keras

from keras_diffkd.layers.torch_like import fan_in_uniform
from keras_diffkd.models import blocks

# Output channels and stride of the 13 separable convolutions.
_BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *((512, 1),) * 5,
    (1024, 2),
    (1024, 1),
)


def mobilenet_v1(input_shape, num_classes, *, name):
    """Builds MobileNetV1 at full width (4.23 million parameters for 1000 classes).

    Args:
        input_shape: `(height, width, channels)`, usually `(224, 224, 3)`.
        num_classes: Integer.
        name: Name of the model.

    Returns:
        A `keras.Model`. The outputs of its blocks are the layers `block1` to `block12`
        and `features`. Convolutions are initialized uniformly in `±1 / sqrt(fan_in)`,
        as in the implementation that the literature uses.

    Source: Howard et al., "MobileNets" (arXiv 1704.04861).
    """
    image = keras.Input(input_shape, name="image")
    init = fan_in_uniform(9 * input_shape[-1])
    x = blocks.conv(image, 32, 3, 2, name="stem_conv", initializer=init)
    x = blocks.relu(blocks.batch_norm(x, name="stem_bn"), name="stem")
    for index, (filters, stride) in enumerate(_BLOCKS, start=1):
        output_name = "features" if index == len(_BLOCKS) else f"block{index}"
        x = _separable(
            x, filters, stride, name=f"block{index}", output_name=output_name
        )
    return blocks.classifier(image, x, num_classes, name=name)


def _separable(x, filters, stride, *, name, output_name):
    """Applies a 3x3 depthwise and a 1x1 convolution, each followed by BN and ReLU."""
    channels = x.shape[-1]
    x, padding = blocks.pad(x, 3, stride, f"{name}_depthwise_pad")
    x = keras.layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding=padding,
        use_bias=False,
        data_format="channels_last",
        depthwise_initializer=fan_in_uniform(9),
        name=f"{name}_depthwise",
    )(x)
    x = blocks.batch_norm(x, name=f"{name}_depthwise_bn")
    x = blocks.relu(x, name=f"{name}_depthwise_relu")
    init = fan_in_uniform(channels)
    x = blocks.conv(x, filters, 1, name=f"{name}_pointwise", initializer=init)
    return blocks.relu(
        blocks.batch_norm(x, name=f"{name}_pointwise_bn"), name=output_name
    )
