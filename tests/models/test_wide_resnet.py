import keras
import numpy as np
import pytest

from keras_diffkd.models import build_model


@pytest.mark.parametrize(
    ("name", "parameters", "width"),
    [("wrn_16_2", 703_284, 2), ("wrn_40_1", 569_780, 1), ("wrn_40_2", 2_255_156, 2)],
)
def test_parameters(name, parameters, width, count_trainable):
    model = build_model(name, (32, 32, 3), 100)
    assert count_trainable(model) == parameters
    assert model.get_layer("stage1").output.shape == (None, 32, 32, 16 * width)
    assert model.get_layer("stage2").output.shape == (None, 16, 16, 32 * width)
    assert model.get_layer("features").output.shape == (None, 8, 8, 64 * width)


def test_shortcuts_are_activated_only_where_the_shape_changes():
    model = build_model("wrn_16_2", (32, 32, 3), 10)
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    names = [
        "stage1_block1",
        "stage1_block2_conv2",
        "stage1",
        "stage2_block1_relu1",
        "stage2_block1_shortcut_conv",
    ]
    outputs = [model.get_layer(name).output for name in names]
    before, branch, after, activated, shortcut = (
        np.array(y) for y in keras.Model(model.input, outputs)(x)
    )
    np.testing.assert_allclose(after, before + branch, atol=1e-5)
    kernel = model.get_layer("stage2_block1_shortcut_conv").get_weights()[0][0, 0]
    np.testing.assert_allclose(shortcut, activated[:, ::2, ::2] @ kernel, atol=1e-4)
