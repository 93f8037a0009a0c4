import keras
import numpy as np
import pytest

from keras_diffkd.models import build_model


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet20", 278_324),
        ("resnet32", 472_756),
        ("resnet56", 861_620),
        ("resnet110", 1_736_564),
        ("resnet8x4", 1_233_540),
        ("resnet32x4", 7_433_860),
    ],
)
def test_cifar_parameters(name, parameters, count_trainable):
    model = build_model(name, (32, 32, 3), 100)
    assert count_trainable(model) == parameters
    width = 256 if name.endswith("x4") else 64
    assert model.get_layer("stage1").output.shape == (None, 32, 32, width // 4)
    assert model.get_layer("stage2").output.shape == (None, 16, 16, width // 2)
    assert model.get_layer("features").output.shape == (None, 8, 8, width)


@pytest.mark.parametrize(
    ("name", "parameters", "width"),
    [
        ("resnet18", 11_689_512, 512),
        ("resnet34", 21_797_672, 512),
        ("resnet50", 25_557_032, 2048),
    ],
)
def test_imagenet_parameters(name, parameters, width, count_trainable):
    model = build_model(name, (224, 224, 3), 1000)
    assert count_trainable(model) == parameters
    assert model.get_layer("stem_pool").output.shape == (None, 56, 56, 64)
    assert model.get_layer("stage1").output.shape == (None, 56, 56, width // 8)
    assert model.get_layer("stage3").output.shape == (None, 14, 14, width // 2)
    assert model.get_layer("features").output.shape == (None, 7, 7, width)


def test_bottleneck_stride_is_on_the_3x3_convolution():
    model = build_model("resnet50", (64, 64, 3), 10)
    assert model.get_layer("stage2_block1_conv1").strides == (1, 1)
    assert model.get_layer("stage2_block1_conv2").strides == (2, 2)


def test_blocks_add_the_activated_input():
    model = build_model("resnet20", (32, 32, 3), 10)
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    names = ["stem", "stage1_block1_bn2", "stage1_block1"]
    outputs = [model.get_layer(name).output for name in names]
    stem, branch, block = (np.array(y) for y in keras.Model(model.input, outputs)(x))
    np.testing.assert_allclose(block, np.maximum(stem + branch, 0), atol=1e-6)
