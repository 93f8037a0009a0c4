"""Builds DeepLabV3+ segmenters with KerasHub."""

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
    """Builds a DeepLabV3+ with logits for each pixel, float32 under any dtype policy.

    The output of its atrous spatial pyramid pooling is
    `"backbone/spatial_pyramid_pooling"`, a map with 256 channels.

    Args:
        input_shape: `(height, width, 3)`, multiples of the encoder's stride.
        num_classes: Integer, including the background.
        filters: Integers, as in `resnet_encoder`.
        blocks: Integers, as in `resnet_encoder`.
        block_type: String, as in `resnet_encoder`.
        pyramid_level: String, the level of the encoder to pool.
        upsampling_size: Integer, the scale from that level to level 2, with which it is
            concatenated.
        dilation_rates: Integers, the dilation rates of the pooling.
        projection_filters: Integer, the number of channels to project level 2 to.
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
