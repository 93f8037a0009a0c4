"""What `shrink` returns, which channels it keeps, and what it refuses."""

import zipfile

import keras
import numpy as np
import pytest
from helpers.prunable_models import nested
from helpers.small_models import SubclassedCNN, small_cnn

from keras_diffkd import shrink
from keras_diffkd.models import build_model, load_model

layers = keras.layers


@pytest.fixture(scope="module")
def teacher():
    return build_model("digits_teacher", (8, 8, 1), 10)


@pytest.fixture(scope="module")
def shrunk(teacher):
    return shrink(teacher, 0.5, return_report=True)


def test_a_plain_keras_model_with_the_same_layers(teacher, shrunk, rng, tmp_path):
    student, report = shrunk
    assert type(student) is type(teacher)
    assert [layer.name for layer in student.layers] == [
        layer.name for layer in teacher.layers
    ]
    assert student.get_layer("features").output.shape == (None, 4, 4, 32)
    assert student.count_params() == report.parameters[1] == 26330
    assert report.parameters[0] == teacher.count_params() == 103338
    assert list(report.left) == ["logits"]
    student.save(tmp_path / "student.keras")
    with zipfile.ZipFile(tmp_path / "student.keras") as file:
        assert b"diffkd" not in file.read("config.json")
    loaded = load_model(str(tmp_path / "student.keras"))
    x = rng.normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(loaded(x), student(x))


def test_the_student_trains_and_the_teacher_stays(teacher, rng):
    before = [np.array(value) for value in teacher.get_weights()]
    student = shrink(teacher, 0.25)
    student.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = rng.normal(size=(8, 8, 8, 1)).astype("float32")
    student.fit(x, np.arange(8), verbose=0)
    assert not teacher.compiled
    for value, old in zip(teacher.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_settings_of_layers_stay():
    image = keras.Input((8, 8, 3), dtype="float16", name="picture")
    x = layers.Conv2D(
        16, 3, dtype="mixed_float16", activation="gelu", trainable=False, name="conv"
    )(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(2, dtype="float32")(x))
    student = shrink(model, 0.5)
    conv = student.get_layer("conv")
    assert conv.filters == 8
    assert conv.dtype_policy.name == "mixed_float16"
    assert conv.activation is keras.activations.gelu
    assert not conv.trainable
    assert (student.inputs[0].name, student.inputs[0].dtype) == ("picture", "float16")


def test_full_width_is_a_copy(rng):
    model = nested()
    copy, report = shrink(model, 1, return_report=True)
    x = rng.normal(size=(2, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(copy(x), model(x))
    assert report.parameters[0] == report.parameters[1]
    assert copy.get_layer("shared").get_layer("inner").filters == 16
    shared = {id(variable) for variable in model.variables}
    assert not shared.intersection(map(id, copy.variables))


@pytest.mark.parametrize(("divisor", "filters"), [(8, 8), (4, 4), (1, 5), (16, 16)])
def test_widths_are_multiples_of_the_divisor(divisor, filters):
    model = small_cnn(24)
    student = shrink(model, 0.2, divisor=divisor)
    assert student.get_layer("features").output.shape[-1] == filters


def test_layers_to_keep(teacher):
    student, report = shrink(teacher, 0.5, keep="features", return_report=True)
    assert student.get_layer("features").output.shape[-1] == 64
    assert "it is in `keep`" in report.left.values()
    with pytest.raises(ValueError, match=r"stem \(it is in `keep`\)"):
        shrink(nested(), 0.5, keep=["shared/inner"])


def test_limits(teacher):
    student = shrink(teacher, max_parameters=30_000)
    assert 20_000 < student.count_params() <= 30_000
    _, report = shrink(teacher, max_multiply_adds=500_000, return_report=True)
    assert report.multiply_adds[1] <= 500_000 < report.multiply_adds[0]
    assert shrink(teacher, max_kilobytes=120).count_params() * 4 <= 120_000


def test_multiply_adds_of_a_convolution_and_a_dense_layer():
    model = small_cnn(16, strides=1)
    _, report = shrink(model, 0.5, return_report=True)
    assert report.multiply_adds == (64 * 9 * 16 + 160, 64 * 9 * 8 + 80)


@pytest.fixture
def one_layer():
    """A model whose first convolution's filters 0 to 7 are weak, and its data."""
    model = small_cnn(16)
    conv, norm, dense = model.layers[1], model.layers[2], model.layers[-1]
    conv.kernel.assign(np.array(conv.kernel) * np.repeat([0.1, 1], 8))
    dense.kernel.assign(np.array(dense.kernel) * np.repeat([0.1, 1], 8)[:, None])
    norm.gamma.assign(np.repeat([2.0, 1.0], 8))
    return model


def kept_of(model, **arguments):
    _, report = shrink(model, 0.5, return_report=True, **arguments)
    return report.kept["features"].tolist()


def smallest(path, rows):
    return -np.abs(rows).sum(axis=1)


def test_importance(one_layer, rng):
    strong, weak = list(range(8, 16)), list(range(8))
    assert kept_of(one_layer) == strong
    assert kept_of(one_layer, importance="batch_norm") == weak
    assert (
        kept_of(one_layer, importance=lambda path, rows: -np.abs(rows).sum(1)) == weak
    )
    # Of channels that the loss does not read, the gradients are zero.
    dense = one_layer.layers[-1]
    dense.kernel.assign(np.array(dense.kernel) * np.repeat([1, 0], 8)[:, None])
    x = rng.normal(size=(16, 8, 8, 1)).astype("float32")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    data = [(x, np.arange(16) % 10)]
    assert kept_of(one_layer, importance="taylor", data=data, loss=loss) == weak


def test_batch_norm_falls_back_to_the_weights():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(16, name="features"), layers.Dense(2)]
    )
    first, last = model.layers
    first.kernel.assign(np.array(first.kernel) * np.repeat([0.01, 1], 8))
    last.kernel.assign(np.array(last.kernel) * np.repeat([0.01, 1], 8)[:, None])
    kept = kept_of(model, importance="batch_norm")
    assert kept == list(range(8, 16))


def test_what_is_not_understood_stays_and_is_named():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, name="first")(image)
    x = layers.Lambda(lambda x: keras.ops.flip(x, axis=-1), name="flip")(x)
    x = layers.Conv2D(16, 3, name="second")(x)
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    with pytest.warns(UserWarning, match=r"'flip' \(Lambda\) is not understood"):
        student, report = shrink(model, 0.5, return_report=True)
    assert student.get_layer("first").filters == 16
    assert student.get_layer("second").filters == 8
    assert "'flip'" in report.left["first"]


def test_layers_of_several_outputs_and_constants_keep_channels():
    x = keras.Input((4,))
    y = layers.Dense(16, name="first")(x)
    z = layers.Dense(16, name="second")(x)
    y, z = layers.Identity(name="both")([y, z])
    y = layers.Dense(16, name="third")(y) * np.arange(16, dtype="float32")
    z = layers.Dense(16, name="fourth")(z) * 2.0
    model = keras.Model(x, layers.Dense(2)(layers.Concatenate()([y, z])))
    with pytest.warns(UserWarning, match="'both'"):
        student, report = shrink(model, 0.5, return_report=True)
    widths = [student.get_layer(n).units for n in ("first", "second", "third")]
    assert widths == [16, 16, 16]
    assert student.get_layer("fourth").units == 8
    assert "constant array" in report.left["third"]


def test_activations_that_mix_channels_keep_them():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(16, activation="softmax", name="mixed"),
            layers.Dense(16, activation="relu", name="apart"),
            layers.Dense(2),
        ]
    )
    student, report = shrink(model, 0.5, return_report=True)
    assert [layer.units for layer in student.layers] == [16, 8, 2]
    assert "softmax" in report.left["mixed"]


@keras.saving.register_keras_serializable("tests_of_shrink")
class Block(keras.layers.Layer):
    """A layer made of layers, as those of KerasHub."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.first = layers.Dense(width, activation="relu", name="first")
        self.second = layers.Dense(8, name="second")

    def build(self, shape):
        self.first.build(shape)
        self.second.build((*shape[:-1], self.width))

    def call(self, x):
        return x + self.second(self.first(x))


@keras.saving.register_keras_serializable("tests_of_shrink")
class Shifted(Block):
    """One with a weight of its own, which a functional model cannot have."""

    def build(self, shape):
        super().build(shape)
        self.shift = self.add_weight(shape=(8,), name="shift")

    def call(self, x):
        return super().call(x) + self.shift

    def get_config(self):
        return super().get_config() | {"width": self.width}


def test_layers_made_of_layers_are_opened_where_that_is_possible():
    x = keras.Input((4,))
    y = layers.Dense(8, name="stem")(x)
    y = Block(32, name="open")(y)
    z = layers.Dense(16, name="middle")(y)
    z = layers.Dense(8, name="back")(z)
    model = keras.Model(x, layers.Dense(2)(Shifted(32, name="closed")(z)))
    with pytest.warns(UserWarning, match=r"'closed' \(Shifted\)"):
        student = shrink(model, 0.5)
    assert student.get_layer("open").get_layer("first").units == 16
    assert student.get_layer("middle").units == 8
    assert student.get_layer("closed").first.units == 32
    np.testing.assert_array_equal(
        student.get_layer("closed").first.kernel, model.get_layer("closed").first.kernel
    )


def all_fixed():
    return keras.Sequential([keras.Input((4,)), layers.Dense(2, name="only")])


class NoConfig(keras.layers.Layer):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)

    def call(self, x):
        return x


def without_config():
    x = keras.Input((4,))
    y = NoConfig(object(), name="mine")(layers.Dense(16)(x))
    return keras.Model(x, layers.Dense(2)(layers.Dense(16)(y)))


def subclassed():
    model = SubclassedCNN()
    model.build((None, 8, 8, 1))
    return model


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (small_cnn, {}, "Pass `width` or one of max_parameters"),
        (small_cnn, {"width": 0.5, "max_parameters": 9}, "Pass `width` or one"),
        (
            small_cnn,
            {"width": 0},
            "`width` must be a finite number above 0",
        ),
        (small_cnn, {"width": 1.5}, "Received: width=1.5"),
        (small_cnn, {"width": float("nan")}, "Received: width=nan"),
        (small_cnn, {"width": "half"}, "Received: width='half'"),
        (small_cnn, {"width": 0.9}, "divisor=8, which all layers keep whole"),
        (
            small_cnn,
            {"max_parameters": 10},
            "`max_parameters` cannot be met",
        ),
        (small_cnn, {"max_parameters": -1}, "Received: max_parameters=-1"),
        (small_cnn, {"width": 0.5, "divisor": 0}, "`divisor` must be an integer"),
        (small_cnn, {"width": 0.5, "importance": "l3"}, "`importance` must be one of"),
        (small_cnn, {"width": 0.5, "importance": "taylor"}, "needs `data`"),
        (
            small_cnn,
            {"width": 0.5, "importance": "taylor", "data": [], "loss": "mse"},
            "no batches",
        ),
        (
            small_cnn,
            {"width": 0.5, "importance": lambda path, rows: rows},
            "must return 16 finite scores",
        ),
        (small_cnn, {"width": 0.5, "keep": "stem"}, r"Received: \['stem'\]"),
        (subclassed, {"width": 0.5}, "SubclassedCNN.*keras.Model\\(inputs, outputs\\)"),
        (all_fixed, {"width": 0.5}, r"can be removed.*only \(an output"),
        (without_config, {"width": 0.5}, r"'mine' \(NoConfig\), which fails"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_wrong_is_said(make, arguments, message):
    model = make(16) if make is small_cnn else make()
    with pytest.raises(ValueError, match=message):
        shrink(model, **arguments)


def test_a_model_is_needed():
    with pytest.raises(ValueError, match="`teacher` must be a keras.Model"):
        shrink("resnet20", 0.5)
