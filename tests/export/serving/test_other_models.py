"""Models that others build: KerasHub's classifiers, einsum layers."""

import keras
import keras_hub
import numpy as np
import pytest
from keras import layers

from keras_diffkd.export import export_student

FORMATS = ["saved_model", "onnx", "tflite"]
RNG = np.random.default_rng(0)


def hub_classifier(image_shape=(32, 32, 3)):
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=image_shape,
    )
    return keras_hub.models.ImageClassifier(
        backbone=backbone, num_classes=5, preprocessor=None
    )


def einsum():
    inputs = keras.Input((12, 4))
    x = layers.EinsumDense("btc,cd->btd", output_shape=(None, 7), bias_axes="d")(inputs)
    x = layers.GlobalAveragePooling1D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(5)(x))


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (hub_classifier, (32, 32, 3)),
        (lambda: hub_classifier((None, None, 3)), (32, 32, 3)),
        (einsum, (12, 4)),
    ],
    ids=["keras_hub", "keras_hub_any_size", "einsum"],
)
def test_three_formats(build, shape, tmp_path):
    keras.utils.set_random_seed(0)
    model = build()
    inputs = RNG.standard_normal((8, *shape)).astype("float32")
    labels = np.argmax(model.predict(inputs, verbose=0), axis=-1)
    manifest = export_student(
        model, tmp_path / "export", FORMATS, samples=(inputs, labels)
    )
    for name in FORMATS:
        found = manifest["artifacts"][name]["verification"]
        assert found["max_difference"] < 1e-5
        assert found["accuracy"] == 1.0
