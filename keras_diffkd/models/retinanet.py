"""Builds RetinaNet detectors with KerasHub."""

import math

import keras

from keras_diffkd.models.hub import compute_in_float32, resnet_encoder
from keras_diffkd.validation.packages import import_keras_hub

# The initial probability of an object at each anchor (arXiv 1708.02002, 4.1).
_PRIOR = 0.01


def retinanet(
    input_shape,
    num_classes,
    *,
    filters,
    blocks,
    block_type,
    levels=(3, 7),
    num_scales=3,
    aspect_ratios=(0.5, 1.0, 2.0),
    anchor_size=4.0,
    head_convs=4,
    name,
):
    """Builds a RetinaNet with boxes as `xyxy` pixels.

    Its feature pyramid is `"backbone/fpn"`, a dictionary of maps `P3`, `P4`, ... with
    256 channels. Its output is a dictionary with `bbox_regression` (encoded boxes,
    `(batch, anchors, 4)`) and `cls_logits` (`(batch, anchors, classes)`), float32 under
    any dtype policy.

    Args:
        input_shape: `(height, width, 3)`. All sizes must be known, because the anchors
            depend on them.
        num_classes: Integer.
        filters: Integers, as in `resnet_encoder`.
        blocks: Integers, as in `resnet_encoder`.
        block_type: String, as in `resnet_encoder`.
        levels: Integers, the first and the last level of the pyramid.
        num_scales: Integer, the number of anchor sizes at each level.
        aspect_ratios: Floats, the heights of the anchors divided by their widths.
        anchor_size: Float, the side of the smallest anchor, in strides of its level.
        head_convs: Integer, the number of convolutions before the outputs.
        name: String.

    Returns:
        A `keras_hub.models.RetinaNetObjectDetector`.
    """
    keras_hub = import_keras_hub(f"{name!r}")
    first, last = levels
    backbone = keras_hub.models.RetinaNetBackbone(
        image_encoder=resnet_encoder(input_shape, filters, blocks, block_type),
        min_level=first,
        max_level=last,
        use_p5=False,
        image_shape=tuple(input_shape),
        name="backbone",
    )
    detector = keras_hub.models.RetinaNetObjectDetector(
        backbone=backbone,
        num_classes=num_classes,
        bounding_box_format="xyxy",
        anchor_generator=keras_hub.layers.AnchorGenerator(
            "xyxy",
            first,
            last,
            num_scales=num_scales,
            aspect_ratios=list(aspect_ratios),
            anchor_size=anchor_size,
        ),
        pre_logits_num_conv_layers=head_convs,
        name=name,
    )
    repair_initial_weights(detector)
    outputs = (keras.layers.Reshape, keras.layers.Concatenate)
    compute_in_float32(
        [
            detector.box_head.prediction_layer,
            detector.classification_head.prediction_layer,
            *(layer for layer in detector.layers if isinstance(layer, outputs)),
            # These compute coordinates of boxes.
            detector.anchor_generator,
            detector.label_encoder,
            detector.label_encoder.anchor_generator,
        ]
    )
    return detector


def repair_initial_weights(detector):
    """Corrects the initial weights of a KerasHub RetinaNet.

    KerasHub 0.32 sets the bias for the prior on the boxes instead of the classes, and
    gives all convolutions of the pyramid the same initial weights.

    Args:
        detector: `keras_hub.models.RetinaNetObjectDetector` that is not trained.
    """
    boxes = detector.box_head.prediction_layer
    boxes.bias.assign(keras.ops.zeros(boxes.bias.shape))
    classes = detector.classification_head.prediction_layer
    bias = -math.log((1 - _PRIOR) / _PRIOR)
    classes.bias.assign(keras.ops.full(classes.bias.shape, bias))
    pyramid = detector.backbone.feature_pyramid
    for convolutions in (pyramid.lateral_conv_layers, pyramid.output_conv_layers):
        for convolution in convolutions.values():
            kernel = convolution.kernel
            initializer = keras.initializers.VarianceScaling()
            kernel.assign(initializer(kernel.shape, kernel.dtype))
