"""Small models with the couplings that pruning must know."""

import keras
import pytest

from keras_diffkd.models import build_model

layers = keras.layers


def coupled():
    """Groups, shuffles, gates, concatenations, transposed kernels, two outputs."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, padding="same")(image)
    y = layers.Conv2D(32, 3, padding="same", groups=4)(x)
    y = layers.PReLU(shared_axes=[1, 2])(y)
    z = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    z = layers.Conv2D(32, 1, activation="relu")(z)
    z = layers.GroupNormalization(4)(z)
    x = layers.Concatenate()([x + y, z])
    x = layers.BatchNormalization()(x)
    # ShuffleNet's shuffle of channels.
    x = layers.Reshape((16, 16, 4, 16))(x)
    x = layers.Permute((1, 2, 4, 3))(x)
    x = layers.Reshape((16, 16, 64))(x)
    gate = layers.GlobalAveragePooling2D()(x)
    gate = layers.Reshape((1, 1, 64))(gate)
    gate = layers.Dense(16, activation="silu")(gate)
    gate = layers.Dense(64, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    x = x * layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, padding="same")(x)
    x = layers.SeparableConv2D(24, 3, strides=4, depth_multiplier=2)(x)
    x = layers.Flatten()(keras.ops.relu(x))
    x = layers.Dense(32, activation="relu")(x)
    outputs = {"a": layers.Dense(3)(x), "b": layers.Softmax()(layers.Dense(4)(x))}
    return keras.Model(image, outputs, name="coupled")


def transformer():
    """Attention of both kinds, an einsum, layer and RMS normalization."""
    tokens = keras.Input((16,))
    x = layers.Embedding(50, 32)(tokens)
    for norm, attention in (
        (layers.LayerNormalization(), layers.MultiHeadAttention(4, 8)),
        (layers.RMSNormalization(), layers.GroupQueryAttention(8, 4, 2)),
    ):
        y = norm(x)
        x = x + attention(y, y)
        y = layers.LayerNormalization()(x)
        y = layers.Dense(64, activation="gelu")(y)
        y = layers.EinsumDense("abc,cd->abd", (None, 32), bias_axes="d")(y)
        x = layers.Add()([x, y])
    x = keras.ops.mean(x, axis=1)
    return keras.Model(tokens, layers.Dense(5)(x[:, :]), name="transformer")


def nested():
    """A shared model inside a model, and one layer that is called twice."""
    shared = keras.Sequential(
        [
            keras.Input((8, 8, 16)),
            layers.Conv2D(16, 3, padding="same", name="inner"),
            layers.ReLU(),
        ],
        name="shared",
    )
    image = keras.Input((8, 8, 3), name="image")
    stem = layers.Conv2D(16, 3, padding="same", name="stem")
    twice = layers.Conv2D(16, 1, name="twice")
    x = shared(stem(image))
    x = shared(twice(x))
    x = layers.Add(name="features")([x, twice(x)])
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(image, layers.Dense(4, name="logits")(x), name="nested")


def mobilenet_v2():
    """MobileNetV2, thin."""
    return keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, classes=7, classifier_activation=None
    )


def hub_vit():
    """KerasHub's ViT, small: class token, positions, one dropout for two widths."""
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=8,
        num_layers=1,
        num_heads=4,
        hidden_dim=32,
        mlp_dim=64,
    )
    return keras_hub.models.ViTImageClassifier(backbone, num_classes=10)


def of_zoo(name, size, channels=3, classes=10):
    """Returns a function that builds a model of the zoo."""
    return lambda: build_model(name, (size, size, channels), classes)
