"""DeepLabV3+ segmenters on KerasHub."""

from keras_diffkd.models.hub import compute_in_float32, resnet_encoder
from keras_diffkd.validation.packages import import_keras_hub


def deeplab_v3(
    input_shape,
    num_classes,
    *,
    filters,
    blocks,
    block_type,
    pyramid_level="P5",
    upsampling_size=8,
    dilation_rates=(6, 12, 18),
    projection_filters=48,
    name,
):
    """Builds a DeepLabV3+ with logits for every pixel, float32 under any policy.

    What its atrous spatial pyramid pooling gives is
    `"backbone/spatial_pyramid_pooling"`, a map of 256 channels.

    Args:
        input_shape: `(height, width, 3)`, multiples of the encoder's stride.
        num_classes: Integer, the background included.
        filters: See `resnet_encoder`, as `blocks` and `block_type`.
        blocks: Integers.
        block_type: String.
        pyramid_level: The encoder's level that is pooled.
        upsampling_size: Integer, from there to the level 2 that is concatenated.
        dilation_rates: Integers, of the pooling.
        projection_filters: Integer, channels that level 2 is projected to.
        name: String.

    Returns:
        A `keras_hub.models.DeepLabV3ImageSegmenter`.
    """
    keras_hub = import_keras_hub(f"{name!r}")
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=resnet_encoder(input_shape, filters, blocks, block_type),
        spatial_pyramid_pooling_key=pyramid_level,
        upsampling_size=upsampling_size,
        dilation_rates=list(dilation_rates),
        low_level_feature_key="P2",
        projection_filters=projection_filters,
        image_shape=tuple(input_shape),
        name="backbone",
    )
    segmenter = keras_hub.models.DeepLabV3ImageSegmenter(
        backbone, num_classes=num_classes, name=name
    )
    compute_in_float32([segmenter.output_conv])
    return segmenter
