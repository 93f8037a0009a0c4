"""Builds residual networks for CIFAR and for ImageNet."""

import keras

from keras_diffkd.models import blocks


def cifar_resnet(input_shape, num_classes, *, depth, widths, name):
    """Builds the three-stage ResNet of the distillation literature for CIFAR.

    Args:
        input_shape: `(height, width, channels)`.
        num_classes: Integer.
        depth: Integer, `6 n + 2` with `n` basic blocks per stage.
        widths: Integers, the channels of the stem and of the three stages, for example
            `(16, 16, 32, 64)`. In `8x4`, the stages have four times as many.
        name: Name of the model.

    Returns:
        A `keras.Model`. The outputs of its stages are the layers `stage1`, `stage2`
        and `features`.

    Example:

    >>> cifar_resnet(
    ...     (32, 32, 3), 100, depth=20, widths=(16, 16, 32, 64), name="resnet20"
    ... ).output_shape
    (None, 100)

    Source: He et al., "Deep Residual Learning for Image Recognition" (arXiv
    1512.03385), with projection shortcuts (1x1 convolution and batch
    normalization) as in Tian et al., "Contrastive Representation Distillation"
    (arXiv 1910.10699).
    """
    image = keras.Input(input_shape, name="image")
    x = blocks.conv(image, widths[0], 3, name="stem_conv")
    x = blocks.relu(blocks.batch_norm(x, name="stem_bn"), name="stem")
    blocks_per_stage = ((depth - 2) // 6,) * 3
    x = residual_stages(x, basic_block, blocks_per_stage, widths[1:])
    return blocks.classifier(image, x, num_classes, name=name)


def imagenet_resnet(input_shape, num_classes, *, block, blocks_per_stage, name):
    """Builds a four-stage ResNet for ImageNet.

    Args:
        input_shape: `(height, width, channels)`, usually `(224, 224, 3)`.
        num_classes: Integer.
        block: `basic_block` or `bottleneck_block`.
        blocks_per_stage: Four integers, `(2, 2, 2, 2)` for ResNet-18.
        name: Name of the model.

    Returns:
        A `keras.Model`. The outputs of its stages are the layers `stage1`, `stage2`,
        `stage3` and `features`.

    Source: arXiv 1512.03385. Bottleneck blocks have their stride in the 3x3
    convolution ("v1.5"), as in the teachers that the literature uses.
    """
    image = keras.Input(input_shape, name="image")
    x = blocks.conv(image, 64, 7, 2, name="stem_conv")
    x = blocks.relu(blocks.batch_norm(x, name="stem_bn"), name="stem")
    # Padding with zeros does not change a maximum over the outputs of a ReLU.
    x, padding = blocks.pad(x, 3, 2, "stem_pool_pad")
    x = keras.layers.MaxPooling2D(
        3, 2, padding=padding, data_format="channels_last", name="stem_pool"
    )(x)
    x = residual_stages(x, block, blocks_per_stage, (64, 128, 256, 512))
    return blocks.classifier(image, x, num_classes, name=name)


def basic_block(x, filters, stride, *, name, output_name):
    """Applies two 3x3 convolutions with a shortcut around them.

    Args:
        x: Feature map `(batch, height, width, channels)`.
        filters: Integer, the number of output channels.
        stride: Integer, the stride of the first convolution.
        name: Prefix of the layers' names.
        output_name: Name of the last ReLU, which is the block's output.
    """
    y = blocks.conv(x, filters, 3, stride, name=f"{name}_conv1")
    y = blocks.relu(blocks.batch_norm(y, name=f"{name}_bn1"), name=f"{name}_relu1")
    y = blocks.conv(y, filters, 3, name=f"{name}_conv2")
    y = blocks.batch_norm(y, name=f"{name}_bn2")
    y = keras.layers.Add(name=f"{name}_add")([_shortcut(x, filters, stride, name), y])
    return blocks.relu(y, name=output_name)


def bottleneck_block(x, filters, stride, *, name, output_name):
    """Applies 1x1, 3x3 and 1x1 convolutions with a shortcut around them.

    The arguments are those of `basic_block`. The output has `4 * filters` channels.
    """
    y = blocks.conv(x, filters, 1, name=f"{name}_conv1")
    y = blocks.relu(blocks.batch_norm(y, name=f"{name}_bn1"), name=f"{name}_relu1")
    y = blocks.conv(y, filters, 3, stride, name=f"{name}_conv2")
    y = blocks.relu(blocks.batch_norm(y, name=f"{name}_bn2"), name=f"{name}_relu2")
    y = blocks.conv(y, 4 * filters, 1, name=f"{name}_conv3")
    y = blocks.batch_norm(y, name=f"{name}_bn3")
    shortcut = _shortcut(x, 4 * filters, stride, name)
    y = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return blocks.relu(y, name=output_name)


def _shortcut(x, filters, stride, name):
    if stride == 1 and x.shape[-1] == filters:
        return x
    x = blocks.conv(x, filters, 1, stride, name=f"{name}_shortcut_conv")
    return blocks.batch_norm(x, name=f"{name}_shortcut_bn")


def residual_stages(x, block, blocks_per_stage, widths):
    """Stacks stages of residual blocks. All but the first halve the resolution.

    Args:
        x: Feature map `(batch, height, width, channels)`.
        block: `basic_block` or `bottleneck_block`.
        blocks_per_stage: Integers, one per stage.
        widths: Integers, the channels of the stages.

    Returns:
        The output of the last stage, the layer `features`. The outputs of the other
        stages are `stage1`, `stage2` and so on.
    """
    for stage, (num_blocks, width) in enumerate(
        zip(blocks_per_stage, widths, strict=True), start=1
    ):
        for index in range(1, num_blocks + 1):
            name = output_name = f"stage{stage}_block{index}"
            if index == num_blocks:
                last_stage = stage == len(widths)
                output_name = "features" if last_stage else f"stage{stage}"
            stride = 2 if stage > 1 and index == 1 else 1
            x = block(x, width, stride, name=name, output_name=output_name)
    return x
