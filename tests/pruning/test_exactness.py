"""A smaller copy computes what the teacher does without the dropped channels."""

import keras
import numpy as np
import pytest
from helpers.prunable_models import (
    coupled,
    hub_vit,
    mobilenet_v2,
    nested,
    of_zoo,
    transformer,
)
from masked_teacher import largest_difference, randomized

from keras_diffkd import shrink
from keras_diffkd.models import load_model
from keras_diffkd.pruning.shrinkable import Shrinkable

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

MODELS = {
    "digits": of_zoo("digits_teacher", 8, 1),
    "fashion": of_zoo("fashion_teacher", 28, 1),
    "wide_resnet": of_zoo("wrn_16_2", 16),
    "mobilenet_v1": of_zoo("mobilenet_v1", 32),
    "mobilenet_v2": mobilenet_v2,
    "coupled": coupled,
    "transformer": transformer,
    "nested": nested,
    "vit": hub_vit,
    "retinanet": of_zoo("retinanet_scenes_teacher", 32),
    "deeplab": of_zoo("deeplabv3_scenes_teacher", 64),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_teacher_without_the_dropped_channels(name, rng):
    teacher = randomized(MODELS[name]())
    source = Shrinkable(teacher)
    student, report = source.student(0.5)
    assert student.count_params() == report.parameters[1] < 0.4 * report.parameters[0]
    shapes = [[size or 32 for size in tensor.shape[1:]] for tensor in teacher.inputs]
    inputs = [rng.normal(size=(2, *shape)).astype("float32") for shape in shapes]
    if name == "transformer":
        inputs = [rng.integers(0, 50, (2, 16))]
    assert largest_difference(source.graph, student, report, inputs) < 1e-5
    # Layers of KerasHub have become models of Keras's own layers.
    used = keras.Model(student.inputs, student.outputs).to_json()
    assert ("keras_hub" in used) == (name == "vit")
    # The reference is no copy of the teacher: dropping channels matters.
    given = inputs[0] if len(inputs) == 1 else inputs
    pairs = zip(
        _flat(teacher(given, training=False)),
        _flat(student(given, training=False)),
        strict=True,
    )
    assert max(np.abs(a - b).max() for a, b in pairs) > 1e-3


def _flat(outputs):
    outputs = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    return [np.array(output) for output in outputs]


def test_a_vit_is_the_same_as_its_layers(rng, tmp_path):
    """KerasHub adds class token and positions in one layer, the copy in several."""
    teacher = randomized(hub_vit())
    image = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    copy = shrink(teacher, 1)
    np.testing.assert_allclose(copy(image), teacher(image), atol=1e-5)
    batch = [(image, np.array([1, 2]))]
    student = shrink(teacher, 0.5, importance="taylor", data=batch, loss=LOSS)
    student.save(tmp_path / "student.keras")
    loaded = load_model(str(tmp_path / "student.keras"))
    np.testing.assert_array_equal(loaded(image), student(image))
