import pytest

from keras_diffkd.models import build_model


@pytest.mark.parametrize(
    ("name", "parameters", "width", "blocks"),
    [("fashion_teacher", 176_090, 64, 2), ("fashion_student", 20_146, 32, 1)],
)
def test_sizes(name, parameters, width, blocks):
    model = build_model(name, (28, 28, 1), 10)
    assert model.count_params() == parameters
    assert model.get_layer("stem").output.shape == (None, 14, 14, width // 4)
    assert model.get_layer("stage1").output.shape == (None, 14, 14, width // 4)
    assert model.get_layer("stage2").output.shape == (None, 7, 7, width // 2)
    assert model.get_layer("features").output.shape == (None, 4, 4, width)
    sums = [layer for layer in model.layers if layer.name.endswith("_add")]
    assert len(sums) == 3 * blocks
