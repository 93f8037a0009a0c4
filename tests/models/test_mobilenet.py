import numpy as np

from keras_diffkd.models import build_model


def test_parameters_and_shapes(count_trainable):
    model = build_model("mobilenet_v1", (224, 224, 3), 1000)
    assert count_trainable(model) == 4_231_976
    assert model.get_layer("stem").output.shape == (None, 112, 112, 32)
    assert model.get_layer("block5").output.shape == (None, 28, 28, 256)
    assert model.get_layer("features").output.shape == (None, 7, 7, 1024)


def test_convolutions_are_initialized_by_fan_in():
    model = build_model("mobilenet_v1", (32, 32, 3), 10)
    fan_ins = {"stem_conv": 27, "block5_depthwise": 9, "block5_pointwise": 256}
    for name, fan_in in fan_ins.items():
        (kernel,) = model.get_layer(name).get_weights()
        limit = 1 / np.sqrt(fan_in)
        assert 0.95 * limit < np.abs(kernel).max() <= limit
