"""The models of the zoo by name."""

import difflib
import functools

from keras_diffkd.models.digits import digits_net
from keras_diffkd.models.mobilenet import mobilenet_v1
from keras_diffkd.models.resnet import (
    basic_block,
    bottleneck_block,
    cifar_resnet,
    imagenet_resnet,
)
from keras_diffkd.models.wide_resnet import wide_resnet

_CIFAR_WIDTHS = (16, 16, 32, 64)
_CIFAR_WIDTHS_X4 = (32, 64, 128, 256)

ZOO = {
    "digits_teacher": functools.partial(
        digits_net, widths=(32, 64), blocks_per_stage=(2, 3)
    ),
    "digits_student": functools.partial(
        digits_net, widths=(4, 8), blocks_per_stage=(1, 2)
    ),
    "resnet20": functools.partial(cifar_resnet, depth=20, widths=_CIFAR_WIDTHS),
    "resnet32": functools.partial(cifar_resnet, depth=32, widths=_CIFAR_WIDTHS),
    "resnet56": functools.partial(cifar_resnet, depth=56, widths=_CIFAR_WIDTHS),
    "resnet110": functools.partial(cifar_resnet, depth=110, widths=_CIFAR_WIDTHS),
    "resnet8x4": functools.partial(cifar_resnet, depth=8, widths=_CIFAR_WIDTHS_X4),
    "resnet32x4": functools.partial(cifar_resnet, depth=32, widths=_CIFAR_WIDTHS_X4),
    "wrn_16_2": functools.partial(wide_resnet, depth=16, width=2),
    "wrn_40_1": functools.partial(wide_resnet, depth=40, width=1),
    "wrn_40_2": functools.partial(wide_resnet, depth=40, width=2),
    "resnet18": functools.partial(
        imagenet_resnet, block=basic_block, blocks_per_stage=(2, 2, 2, 2)
    ),
    "resnet34": functools.partial(
        imagenet_resnet, block=basic_block, blocks_per_stage=(3, 4, 6, 3)
    ),
    "resnet50": functools.partial(
        imagenet_resnet, block=bottleneck_block, blocks_per_stage=(3, 4, 6, 3)
    ),
    "mobilenet_v1": mobilenet_v1,
}


def build_model(name, input_shape, num_classes):
    """Builds a model of the zoo, with new weights.

    For CIFAR-sized images: `resnet20`, `resnet32`, `resnet56`, `resnet110`,
    `resnet8x4`, `resnet32x4`, `wrn_16_2`, `wrn_40_1`, `wrn_40_2`. For ImageNet:
    `resnet18`, `resnet34`, `resnet50`, `mobilenet_v1`. For 8x8 digits:
    `digits_teacher`, `digits_student`.

    Every model is made of Keras's own layers, so that its file loads without this
    package. Its input is named `image`; `features` is its last feature map,
    `(batch, height, width, channels)` after the last activation; `logits` is its
    output, float32 under any dtype policy.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`; height and width may be `None`.
        num_classes: Integer, classes in the output.

    Returns:
        A `keras.Model` from `(batch, *input_shape)` to logits
        `(batch, num_classes)`.

    Raises:
        ValueError: If the zoo has no such model, or if `input_shape` or
            `num_classes` is not one.

    Example:

    >>> student = build_model("resnet20", (32, 32, 3), 100)
    >>> student.get_layer("features").output.shape
    (None, 8, 8, 64)
    """
    if name not in ZOO:
        raise ValueError(
            f"Unknown model. Received: {name!r}. {closest(name, ZOO)}Expected a model "
            f"of the zoo: {', '.join(ZOO)}."
        )
    if len(input_shape) != 3 or not input_shape[-1]:
        raise ValueError(
            "`input_shape` must be (height, width, channels). "
            f"Received: {input_shape!r}."
        )
    if not isinstance(num_classes, int) or num_classes < 1:
        raise ValueError(
            f"`num_classes` must be a positive integer. Received: {num_classes!r}."
        )
    return ZOO[name](tuple(input_shape), num_classes, name=name)


def closest(name, names):
    """Returns a sentence with the names most like `name`, or an empty string."""
    close = difflib.get_close_matches(name, names, n=3)
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
