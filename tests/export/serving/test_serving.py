import keras
import numpy as np
import pytest

from keras_diffkd.export.serving.serving import Serving


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: "student.keras", "Expected a `keras.Model`"),
        (lambda: keras.layers.Dense(2), "Expected a `keras.Model`"),
        (lambda: keras.Sequential([keras.layers.Dense(2)]), "is not built"),
        (
            lambda: keras.Sequential(
                [keras.Input((1,), dtype="string"), keras.layers.Flatten()]
            ),
            "Export the part of the student behind its `TextVectorization`",
        ),
    ],
)
def test_unusable_students(model, message):
    with pytest.raises(ValueError, match=message):
        Serving(model())


class Lazy(keras.Model):
    def __init__(self):
        super().__init__()
        self.classifier = keras.layers.Dense(2)

    def call(self, x):
        return self.classifier(x)

    def build(self, input_shape):
        self.built = True


def test_student_with_weights_that_do_not_exist_yet_is_refused():
    student = Lazy()
    student.build((None, 4))
    with pytest.raises(ValueError, match="2 of its weights were only made"):
        Serving(student)


class TwoArguments(keras.Model):
    def call(self, x, y):
        return x + y


def test_student_called_with_several_arguments_is_refused():
    student = TwoArguments()
    student(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="one argument.*required argument: 'y'"):
        Serving(student)


class DictModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.left = keras.layers.Dense(2)
        self.right = keras.layers.Dense(3)

    def call(self, inputs):
        return {"l": self.left(inputs["a"]), "r": self.right(inputs["b"])}


def test_subclassed_model_with_dictionaries(rng):
    student = DictModel()
    inputs = {
        "b": rng.standard_normal((2, 5)).astype("float32"),
        "a": rng.standard_normal((2, 4)).astype("float32"),
    }
    expected = student(inputs)

    serving = Serving(student)

    assert [(spec.name, spec.shape[1]) for spec in serving.inputs] == [
        ("a", 4),
        ("b", 5),
    ]
    outputs = serving(inputs["a"], inputs["b"])
    for name in ("l", "r"):
        np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-5)


def test_names_are_unique_and_accepted_everywhere():
    x = keras.Input((4,), name="my input")
    shared = keras.layers.Dense(4, name="head")
    serving = Serving(keras.Model(x, [shared(x), shared(shared(x))]))

    assert [spec.name for spec in serving.inputs] == ["my_input"]
    assert [spec.name for spec in serving.outputs] == ["head", "head_1"]
