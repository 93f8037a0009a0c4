"""Builds a teacher and a student for 28x28 images, such as Fashion-MNIST and MNIST."""

import keras

from keras_diffkd.models import blocks
from keras_diffkd.models.resnet import basic_block, residual_stages


def fashion_net(input_shape, num_classes, *, widths, blocks_per_stage, name):
    """Builds a small three-stage ResNet whose stem halves the resolution.

    Args:
        input_shape: `(height, width, channels)`, usually `(28, 28, 1)`.
        num_classes: Integer.
        widths: Integers, the channels of the three stages. The stem has as many as the
            first stage.
        blocks_per_stage: Integer, the number of basic blocks in each stage.
        name: Name of the model.

    Returns:
        A `keras.Model`. The outputs of its stages are the layers `stage1`, `stage2`
        and `features`: 14x14, 7x7 and 4x4 for 28x28 images.

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
