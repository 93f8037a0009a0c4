"""Builds a teacher and a student for 8x8 digits, small enough for a CPU."""

import keras

from keras_diffkd.models import blocks


def digits_net(input_shape, num_classes, *, widths, blocks_per_stage, name):
    """Builds a plain convolutional network with two resolutions.

    Args:
        input_shape: `(height, width, channels)`, usually `(8, 8, 1)`.
        num_classes: Integer.
        widths: Integers, the channels at full and at half resolution.
        blocks_per_stage: Integers, the number of 3x3 convolutions at full and at half
            resolution. The first one at half resolution has stride 2.
        name: Name of the model.

    Returns:
        A `keras.Model`. `features` has half the height and width of the image: 4x4
        for digits, in both teacher and student.

    Example:

    >>> digits_net(
    ...     (8, 8, 1), 10, widths=(4, 8), blocks_per_stage=(1, 2), name="net"
    ... ).get_layer("features").output.shape
    (None, 4, 4, 8)
    """
    image = keras.Input(input_shape, name="image")
    x = image
    for stage, (width, count) in enumerate(
        zip(widths, blocks_per_stage, strict=True), start=1
    ):
        for index in range(1, count + 1):
            prefix = output_name = f"stage{stage}_block{index}"
            if index == count:
                output_name = "features" if stage == 2 else "stage1"
            stride = 2 if stage == 2 and index == 1 else 1
            x = blocks.conv(x, width, 3, stride, name=f"{prefix}_conv")
            x = blocks.batch_norm(x, name=f"{prefix}_bn")
            x = blocks.relu(x, name=output_name)
    return blocks.classifier(image, x, num_classes, name=name)
