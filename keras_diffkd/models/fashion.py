"""A teacher and a student for 28x28 images: Fashion-MNIST, MNIST and their kin."""

import keras

from keras_diffkd.models import blocks
from keras_diffkd.models.resnet import basic_block, residual_stages


def fashion_net(input_shape, num_classes, *, widths, blocks_per_stage, name):
    """Builds a small three-stage ResNet whose stem halves the resolution.

    Args:
        input_shape: `(height, width, channels)`, usually `(28, 28, 1)`.
        num_classes: Integer.
        widths: Channels of the three stages; the stem has those of the first.
        blocks_per_stage: Integer, basic blocks in each stage.
        name: Name of the model.

    Returns:
        A `keras.Model`. Stage outputs are the layers `stage1`, `stage2` and
        `features`: 14x14, 7x7 and 4x4 for images of 28x28.

    Example:

    >>> fashion_net(
    ...     (28, 28, 1), 10, widths=(8, 16, 32), blocks_per_stage=1, name="net"
    ... ).get_layer("features").output.shape
    (None, 4, 4, 32)
    """
    image = keras.Input(input_shape, name="image")
    x = blocks.conv(image, widths[0], 3, 2, name="stem_conv")
    x = blocks.relu(blocks.batch_norm(x, name="stem_bn"), name="stem")
    x = residual_stages(x, basic_block, (blocks_per_stage,) * 3, widths)
    return blocks.classifier(image, x, num_classes, name=name)
