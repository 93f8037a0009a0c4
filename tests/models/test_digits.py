import keras
import pytest

from keras_diffkd.datasets import load_classification
from keras_diffkd.models import build_model


@pytest.mark.parametrize(
    ("name", "parameters"), [("digits_teacher", 102_826), ("digits_student", 1_030)]
)
def test_parameters(name, parameters, count_trainable):
    assert count_trainable(build_model(name, (8, 8, 1), 10)) == parameters


def test_feature_maps_have_the_same_size():
    shapes = [
        build_model(name, (8, 8, 1), 10).get_layer(layer).output.shape[1:3]
        for name in ("digits_teacher", "digits_student")
        for layer in ("stage1", "features")
    ]
    assert shapes == [(8, 8), (4, 4)] * 2


def test_the_student_learns_but_stays_behind(data_dir):
    # A third of the epochs of the experiment.
    data = load_classification("digits", data_dir=data_dir, batch_size=64)
    accuracy = {}
    for name in ("digits_teacher", "digits_student"):
        model = build_model(name, data.image_shape, data.num_classes)
        steps = 10 * data.steps_per_epoch
        schedule = keras.optimizers.schedules.CosineDecay(0.05, steps)
        model.compile(
            keras.optimizers.SGD(schedule, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,
        )
        model.fit(data.train, steps_per_epoch=steps, verbose=0)
        accuracy[name] = model.evaluate(data.test, verbose=0)[1]
    assert accuracy["digits_teacher"] > 0.95
    assert 0.4 < accuracy["digits_student"] < accuracy["digits_teacher"] - 0.05
