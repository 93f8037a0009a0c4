"""Builds the models of the zoo by name."""

import difflib
import functools

from keras_diffkd.models.deeplab import deeplab_v3
from keras_diffkd.models.digits import digits_net
from keras_diffkd.models.fashion import fashion_net
from keras_diffkd.models.hub import RESNETS
from keras_diffkd.models.mobilenet import mobilenet_v1
from keras_diffkd.models.resnet import (
    basic_block,
    bottleneck_block,
    cifar_resnet,
    imagenet_resnet,
)
from keras_diffkd.models.retinanet import retinanet
from keras_diffkd.models.wide_resnet import wide_resnet

_CIFAR_WIDTHS = (16, 16, 32, 64)
_CIFAR_WIDTHS_X4 = (32, 64, 128, 256)
_SCENES_ENCODER = {"blocks": (1, 1, 1), "block_type": "basic_block"}
_SCENES_DETECTOR = {
    **_SCENES_ENCODER,
    "levels": (3, 4),
    "num_scales": 2,
    "aspect_ratios": (1.5,),
    "anchor_size": 2.0,
}
_SCENES_SEGMENTER = {**_SCENES_ENCODER, "pyramid_level": "P4", "upsampling_size": 4}

CLASSIFIERS = {
    "digits_teacher": functools.partial(
        digits_net, widths=(32, 64), blocks_per_stage=(2, 3)
    ),
    "digits_student": functools.partial(
        digits_net, widths=(4, 8), blocks_per_stage=(1, 2)
    ),
    "fashion_teacher": functools.partial(
        fashion_net, widths=(16, 32, 64), blocks_per_stage=2
    ),
    "fashion_student": functools.partial(
        fashion_net, widths=(8, 16, 32), blocks_per_stage=1
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
DETECTORS = {
    "retinanet_scenes_teacher": functools.partial(
        retinanet, filters=(64, 64, 128), head_convs=1, **_SCENES_DETECTOR
    ),
    "retinanet_scenes_student": functools.partial(
        retinanet, filters=(64, 16, 16), head_convs=0, **_SCENES_DETECTOR
    ),
    **{
        f"retinanet_{encoder}": functools.partial(
            retinanet, filters=filters, blocks=blocks, block_type=block_type
        )
        for encoder, (filters, blocks, block_type) in RESNETS.items()
    },
}
SEGMENTERS = {
    "deeplabv3_scenes_teacher": functools.partial(
        deeplab_v3,
        filters=(64, 64, 64),
        dilation_rates=(2, 4),
        projection_filters=16,
        **_SCENES_SEGMENTER,
    ),
    "deeplabv3_scenes_student": functools.partial(
        deeplab_v3,
        filters=(64, 16, 16),
        dilation_rates=(2,),
        projection_filters=8,
        **_SCENES_SEGMENTER,
    ),
    **{
        f"deeplabv3_{encoder}": functools.partial(
            deeplab_v3, filters=filters, blocks=blocks, block_type=block_type
        )
        for encoder, (filters, blocks, block_type) in RESNETS.items()
    },
}
ZOO = {**CLASSIFIERS, **DETECTORS, **SEGMENTERS}


def build_model(name, input_shape, num_classes):
    """Builds a model of the zoo with new weights.

    For CIFAR-sized images: `resnet20`, `resnet32`, `resnet56`, `resnet110`,
    `resnet8x4`, `resnet32x4`, `wrn_16_2`, `wrn_40_1`, `wrn_40_2`. For ImageNet:
    `resnet18`, `resnet34`, `resnet50`, `mobilenet_v1`. For 8x8 digits:
    `digits_teacher`, `digits_student`. For 28x28 images such as Fashion-MNIST:
    `fashion_teacher` (176,090 parameters), `fashion_student` (20,146). These models use
    only Keras's own layers, so their files load without this package. The input is
    named `image`. `features` is the last feature map, `(batch, height, width,
    channels)`, after the last activation. `logits` is the output, float32 under any
    dtype policy.

    With KerasHub (extra `hub`), there are detectors:
    `retinanet_resnet18`, `retinanet_resnet50`, `retinanet_resnet101`; segmenters:
    `deeplabv3_resnet18`, `deeplabv3_resnet50`, `deeplabv3_resnet101`; and small ones
    for `digit_scenes`: `retinanet_scenes_teacher`, `retinanet_scenes_student`,
    `deeplabv3_scenes_teacher`, `deeplabv3_scenes_student`. See `models.retinanet` and
    `models.deeplab` for their outputs and their layers to tap.

    Args:
        name: Name of the model.
        input_shape: `(height, width, channels)`. Height and width may be `None`.
        num_classes: Integer, the number of classes in the output.

    Returns:
        A `keras.Model` from `(batch, *input_shape)` to logits: `(batch, num_classes)`
        for a classifier, `(batch, height, width, num_classes)` for a segmenter, and a
        dictionary for a detector.

    Raises:
        ImportError: If the model needs KerasHub, which is not installed.
        ValueError: If the zoo does not have this model, or if `input_shape` or
            `num_classes` is invalid.

    Example:

    >>> student = build_model("resnet20", (32, 32, 3), 100)
    >>> student.get_layer("features").output.shape
    (None, 8, 8, 64)
    """
    check_image_classes(input_shape, num_classes)
    if name not in ZOO:
        raise ValueError(
            f"Unknown model. Received: {name!r}. {closest(name, ZOO)}Expected a model "
            f"of the zoo: {', '.join(ZOO)}."
        )
    if input_shape is None or num_classes is None:
        raise ValueError(
            f"{name!r} needs `input_shape` and `num_classes`. Received: "
            f"input_shape={input_shape!r}, num_classes={num_classes!r}. Pass both."
        )
    return ZOO[name](tuple(input_shape), num_classes, name=name)


def check_image_classes(input_shape, num_classes):
    """Raises `ValueError` unless these are an image shape and a class count, or `None`.

    Args:
        input_shape: `(height, width, channels)` or `None`. Height and width may be
            `None`.
        num_classes: Integer, or `None`.
    """
    is_shape = isinstance(input_shape, (tuple, list)) and len(input_shape) == 3
    if input_shape is not None and not (
        is_shape
        and input_shape[-1] is not None
        and all(size is None or _is_count(size) for size in input_shape)
    ):
        raise ValueError(
            "`input_shape` must be (height, width, channels). "
            f"Received: {input_shape!r}."
        )
    if num_classes is not None and not _is_count(num_classes):
        raise ValueError(
            f"`num_classes` must be a positive integer. Received: {num_classes!r}."
        )


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def closest(name, names):
    """Returns a sentence with the names closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, names, n=3)
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
