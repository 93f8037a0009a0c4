"""Parses KerasHub presets and builds KerasHub's ResNet encoders."""

from keras_diffkd.validation.packages import import_keras_hub


def read_preset(spec):
    """Returns the preset that `hub:PRESET` or `hub:PRESET+new` names.

    Args:
        spec: String that starts with `hub:`.

    Returns:
        `(preset, is_new)`: the name of the preset and whether to use new weights.

    Example:

    >>> read_preset("hub:resnet_18_imagenet+new")
    ('resnet_18_imagenet', True)
    """
    preset = spec.removeprefix("hub:")
    return preset.removesuffix("+new"), preset.endswith("+new")


def resnet_encoder(input_shape, filters, blocks, block_type, strides=(1, 2, 2, 2)):
    """Returns a KerasHub ResNet for detectors and segmenters.

    Args:
        input_shape: `(height, width, channels)`.
        filters: Integers, the channels of each stage (a quarter of its output channels
            for `"bottleneck_block"`).
        blocks: Integers, the number of residual blocks in each stage.
        block_type: `"basic_block"` or `"bottleneck_block"`.
        strides: Integers, the stride of each stage.
    """
    return import_keras_hub("A ResNet encoder").models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=list(filters),
        stackwise_num_blocks=list(blocks),
        stackwise_num_strides=list(strides[: len(filters)]),
        block_type=block_type,
        image_shape=tuple(input_shape),
        name="encoder",
    )


def compute_in_float32(layers):
    """Makes layers compute in float32, whatever the dtype policy of other layers.

    Args:
        layers: List of built layers.
    """
    for layer in layers:
        layer.dtype_policy = "float32"


# Filters, blocks and block type of the ResNets in the literature.
RESNETS = {
    "resnet18": ((64, 128, 256, 512), (2, 2, 2, 2), "basic_block"),
    "resnet50": ((64, 128, 256, 512), (3, 4, 6, 3), "bottleneck_block"),
    "resnet101": ((64, 128, 256, 512), (3, 4, 23, 3), "bottleneck_block"),
}
