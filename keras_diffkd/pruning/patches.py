"""Writes the first layer of KerasHub's ViT as layers that can lose channels."""

import importlib

import keras


def is_vit_patches(layer):
    """Returns whether a layer is the `ViTPatchingAndEmbedding` of KerasHub."""
    cls = type(layer)
    is_hub = cls.__module__.startswith("keras_hub.")
    return is_hub and cls.__name__ == "ViTPatchingAndEmbedding"


def patches_and_positions(layer, inputs):
    """Computes KerasHub's patch layer with layers that have no class token.

    That layer has the class token as a weight of its own, and cannot be built from its
    own configuration (KerasHub 0.32). A class token and its position are always added,
    so a row of zeros with the sum as its position is the same.

    Args:
        layer: `ViTPatchingAndEmbedding`.
        inputs: `KerasTensor`, images.
    """
    keras_hub = importlib.import_module("keras_hub")
    dtype = layer.dtype_policy
    x = layer.patch_embedding(inputs)
    if layer.data_format == "channels_first":
        x = keras.layers.Permute((2, 3, 1), dtype=dtype)(x)
    x = keras.layers.Reshape((-1, x.shape[-1]), dtype=dtype)(x)
    if layer.use_class_token:
        x = keras.layers.ZeroPadding1D((1, 0), dtype=dtype, name="class_token")(x)
    positions = keras_hub.layers.PositionEmbedding(
        layer.num_positions, dtype=dtype, name="position_embedding"
    )
    outputs = keras.layers.Add(dtype=dtype)([x, positions(x)])
    table = layer.position_embedding.embeddings.value
    if layer.use_class_token:
        first = table[:1] + layer.class_token.value[0]
        table = keras.ops.concatenate([first, table[1:]])
    positions.position_embeddings.assign(table)
    return outputs
