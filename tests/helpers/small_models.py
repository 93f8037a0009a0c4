"""Small models that several tests distill."""

import keras
import numpy as np
import pytest

from keras_diffkd import DiffKD, DistillationMethod


def small_cnn(width, classes=10, name=None, strides=2, channels=1, **dense):
    """A convolutional classifier of 8x8 images with a 4x4 feature map."""
    image = keras.Input((8, 8, channels), name="image")
    x = keras.layers.Conv2D(width, 3, strides=strides, padding="same")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(classes, name="logits", **dense)(x)
    return keras.Model(image, logits, name=name)


class SubclassedCNN(keras.Model):
    """The same as a subclassed model with a nested part."""

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.body = keras.Sequential(
            [
                keras.layers.Conv2D(width, 3, strides=2, padding="same"),
                keras.layers.ReLU(name="features"),
            ],
            name="body",
        )
        self.pool = keras.layers.GlobalAveragePooling2D()
        self.head = keras.layers.Dense(10, name="head")

    def call(self, x):
        return self.head(self.pool(self.body(x)))

    def get_config(self):
        return {"width": self.width, "name": self.name}


class FixedDraws(DiffKD):
    """A DiffKD that draws the same numbers however it runs, for batches of 32."""

    def compute_losses(self, *args, **kwargs):
        rng = np.random.default_rng(1)
        shape = (32, 4, 4, self.latent_channels)
        return super().compute_losses(
            *args,
            init_noise=rng.normal(size=shape).astype("float32"),
            denoise_noise=rng.normal(size=shape).astype("float32"),
            timesteps=rng.integers(0, 1000, 32).astype("int32"),
            **kwargs,
        )


class Noise(DistillationMethod):
    """Logs the draw of a replica."""

    loss_weights = {}
    metric_names = ("drawn",)

    def build(self, teacher_shape, student_shape):
        self.seed_generator = keras.random.SeedGenerator(3)
        self.built = True

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        return {"drawn": keras.random.uniform((), seed=self.seed_generator)}


def random_batch(rng, size=32, classes=10):
    """Images with a class-dependent mean, so that they can be learned."""
    labels = rng.integers(0, classes, size)
    images = rng.normal(size=(size, 8, 8, 1)) + labels[:, None, None, None] / 5
    return images.astype("float32"), labels


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def weights_of(model):
    return [np.array(v) for v in model.variables]


def nested_model():
    """A functional model with two nested ones."""
    image = keras.Input((8, 8, 1), name="image")
    backbone = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, name="stem"),
            keras.Sequential([keras.layers.ReLU(name="act")], name="stack"),
        ],
        name="backbone",
    )
    return keras.Model(image, keras.layers.Flatten()(backbone(image)), name="outer")


class TwoMaps(keras.layers.Layer):
    """Returns a dictionary."""

    def call(self, x):
        return {"P3": x, "P4": x[:, ::2, ::2]}


def small_hub_backbone():
    """Returns a ResNet of KerasHub for images of any size, with new weights."""
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64, 8],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
