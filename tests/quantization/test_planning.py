"""Where students are quantized, and that nothing else changes in them."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.quantization import QuantizationRanges, SimulatedStudent
from keras_diffkd.quantization.planning import quantization_plan
from keras_diffkd.quantization.simulation import simulating


def residual():
    """A residual block, a depthwise one, joined branches and a nested model."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(name="stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.BatchNormalization(name="depthwise_norm")(y)
    y = keras.ops.relu6(y)
    y = layers.Conv2D(8, 1, name="project")(y)
    y = layers.BatchNormalization(name="project_norm")(y)
    x = layers.ReLU(name="sum_relu")(layers.Add(name="sum")([x, y]))
    a = layers.Conv2D(4, 1, activation="relu", name="branch")(x)
    b = layers.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    b = layers.BatchNormalization(name="separable_norm")(b)
    x = layers.Concatenate(name="joined")([a, b, layers.MaxPooling2D(1)(x)])
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 16)),
            layers.Conv2DTranspose(6, 2, strides=2, use_bias=False, name="up"),
            layers.BatchNormalization(name="up_norm"),
            layers.Activation("hard_swish", name="swish"),
        ],
        name="inner",
    )
    x = layers.Dropout(0.5)(inner(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    outputs = layers.Dense(10, activation="softmax", name="classes")(x)
    return with_statistics(keras.Model(image, outputs))


def with_statistics(model):
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name == "moving_variance":
            weight.assign(rng.uniform(0.5, 2, weight.shape))
        elif weight.name in ("moving_mean", "beta", "gamma"):
            weight.assign(rng.normal(size=weight.shape) + (weight.name == "gamma"))
    return model


class Block(layers.Layer):
    """A subclassed block: its sum is not visible between the layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Conv2D(3, 3, padding="same", name="first")
        self.norm = layers.BatchNormalization(name="norm")
        self.second = layers.Conv2D(3, 1, name="second")

    def build(self, shape):
        for layer in (self.first, self.norm, self.second):
            layer.build(shape)
        self.built = True

    def call(self, x):
        x = x + keras.ops.relu(self.norm(self.first(x)))
        return self.second(x)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.block = Block(name="block")
        self.head = layers.Dense(2, name="head")

    def build(self, shape):
        self.block.build(shape)
        self.head.build((None, 3))
        self.built = True

    def call(self, x):
        x = self.block(self.block(x))
        return self.head(keras.ops.mean(x, axis=(1, 2)))


@pytest.fixture(scope="module")
def student():
    return residual()


@pytest.fixture(scope="module")
def plan(student):
    return quantization_plan(student)


def calls_of(plan):
    return {call.path: call for calls in plan.calls.values() for call in calls}


def images(size=16):
    return np.random.default_rng(1).normal(size=(size, 8, 8, 3)).astype("float32")


def test_sites_are_where_int8_runtimes_round(plan):
    assert set(plan.sites) == {
        "image",
        "stem_relu",  # After convolution, normalization and ReLU.
        "relu6",
        "project_norm",
        # Of the sum, its ReLU and its pooling, and of both branches.
        "joined",
        "separable/depthwise",
        "inner/up_norm",  # An activation of its own reads an int8 tensor.
        "inner/swish",
        "pool",
        "classes/before_activation",
    }
    assert plan.sites["joined"].count == 3
    assert plan.not_simulated == ["classes/softmax"]


def test_normalizations_after_convolutions_fold(plan):
    calls = calls_of(plan)
    folds = {
        path: call.normalization.name
        for path, call in calls.items()
        if call.normalization is not None
    }
    assert folds == {
        "stem": "stem_norm",
        "depthwise": "depthwise_norm",
        "project": "project_norm",
        "separable": "separable_norm",
        "inner/up": "up_norm",
    }
    folded = {path for path, call in calls.items() if call.is_folded}
    assert folded == {path for path in calls if path.endswith("_norm")}


def test_folded_inference_without_rounding_is_the_float_student(
    student, plan, monkeypatch
):
    import keras_diffkd.quantization.simulation as simulation

    monkeypatch.setattr(
        simulation,
        "rounded_kernel",
        lambda kernel, axes, factor=None: kernel if factor is None else kernel * factor,
    )
    taps = ["stem_norm", "depthwise_norm", "joined", "inner", None]
    x = images()
    with simulating(plan, lambda site, tensor: tensor):
        _, simulated = call_with_taps(student, x, taps, training=False)
    _, real = call_with_taps(student, x, taps, training=False)
    for tap in taps:
        np.testing.assert_allclose(
            *map(keras.ops.convert_to_numpy, (simulated[tap], real[tap])),
            rtol=1e-4,
            atol=1e-5,
        )


def test_simulation_leaves_the_student_as_it_was(student, plan):
    before = keras.ops.convert_to_numpy(student(images(), training=False))
    attributes = {id(op): dict(vars(op)) for op in plan.operations}
    with simulating(plan, lambda site, tensor: tensor * 0):
        rounded = keras.ops.convert_to_numpy(student(images(), training=False))
    after = keras.ops.convert_to_numpy(student(images(), training=False))
    np.testing.assert_array_equal(before, after)
    assert np.abs(rounded - before).max() > 1e-3
    assert attributes == {id(op): dict(vars(op)) for op in plan.operations}


def test_tensors_of_subclassed_parts_enter_through_sites():
    model = Subclassed()
    model.build((None, 8, 8, 3))
    plan = quantization_plan(with_statistics(model))
    # A layer that runs twice is not folded: each call has a range.
    assert {"input", "block/first:0", "block/norm:0"} <= set(plan.sites)
    assert "block/second:0/input" in plan.sites
    assert "block/second:1" in plan.sites
    assert {"head/input", "head"} <= set(plan.sites)
    assert plan.not_simulated == ["block"]
    ranges = QuantizationRanges(dict.fromkeys(plan.sites, (-4.0, 4.0)))
    outputs = SimulatedStudent(model, ranges)(images())
    levels = keras.ops.convert_to_numpy(outputs) * 255 / 8
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)


def test_what_is_skipped_stays_float(student):
    plan = quantization_plan(student, skip=["inner", "stem"])
    assert {"inner/up", "inner/up_norm", "stem", "stem_norm"} <= set(plan.not_simulated)
    assert not any(name.startswith("inner") for name in plan.sites)
    # The stem's normalization and ReLU are float, too: the next layer rounds.
    assert "depthwise/input" in plan.sites
    assert "stem_relu" not in plan.sites


def test_a_relu_that_runs_alone_keeps_the_range_before_it():
    """Its own would round values that are rounded: many lie in the middle of two."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2DTranspose(4, 2, activation="relu", name="first")(image)
    x = layers.Conv2DTranspose(4, 2, name="second")(x)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(x))
    x = layers.Add(name="sum")([x, layers.Conv2D(4, 1, name="other")(x)])
    x = layers.Concatenate(name="both")([x, layers.ReLU(name="last")(x)])
    student = with_statistics(keras.Model(image, x))
    plan = quantization_plan(student)
    sites = {name: (s.count, s.is_positive) for name, s in plan.sites.items()}
    assert sites == {
        "image": (1, False),
        "first": (2, True),
        "norm": (2, True),
        "other": (1, False),
        "sum": (2, False),
    }
    ranges = dict.fromkeys(plan.sites, (-160 / 256, 95 / 256))
    ranges.update(dict.fromkeys(("first", "norm"), (0.0, 95 / 256)))
    outputs = SimulatedStudent(student, QuantizationRanges(ranges))(images())
    before, after = np.split(keras.ops.convert_to_numpy(outputs), 2, axis=-1)
    np.testing.assert_array_equal(after, np.maximum(before, 0))


def test_all_sites_of_a_u_net_are_those_of_the_plan():
    """The one before the ReLU becomes part of that of the concatenation."""
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 2, strides=2, activation="relu")(image)
    x = layers.Conv2DTranspose(4, 2, strides=2, activation="relu")(x)
    x = layers.Concatenate(name="both")([image, x])
    plan = quantization_plan(keras.Model(image, layers.Conv2D(4, 1, name="last")(x)))
    for planned in calls_of(plan).values():
        sites = {planned.input, planned.output, planned.before_activation}
        assert {site.name for site in sites - {None}} <= set(plan.sites)
    assert plan.sites["both"].count == 3


def test_matrix_products_of_tokens_are_rounded():
    tokens = keras.Input((6, 4), name="tokens")
    x = layers.EinsumDense("btd,de->bte", (None, 8), name="wide")(tokens)
    x = layers.EinsumDense("bte,ed->btd", (None, 4), bias_axes="d", name="narrow")(x)
    model = keras.Model(tokens, x)
    plan = quantization_plan(model)
    assert set(plan.sites) == {"tokens", "wide", "narrow"}
    ranges = QuantizationRanges(dict.fromkeys(plan.sites, (-4.0, 4.0)))
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    real, rounded = (
        keras.ops.convert_to_numpy(each(x))
        for each in (model, SimulatedStudent(model, ranges))
    )
    assert 0 < np.abs(real - rounded).max() < 0.2


def test_a_layer_to_skip_must_exist(student):
    with pytest.raises(ValueError, match="Received: 'sten'. Closest .*'stem'"):
        quantization_plan(student, skip=["sten"])


def test_a_student_with_nothing_to_quantize_is_refused():
    image = keras.Input((4,))
    model = keras.Model(image, layers.Softmax()(image))
    with pytest.raises(ValueError, match="Nothing of the student"):
        quantization_plan(model)


def test_a_quantized_student_is_refused():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.Dense(2)])
    model.quantize("int8")
    with pytest.raises(ValueError, match="quantized already"):
        quantization_plan(model)


def test_ranges_of_another_student_name_the_sites(student, tmp_path):
    other = QuantizationRanges({"image": (0.0, 1.0), "conv": (-1.0, 1.0)})
    other.save(tmp_path / "ranges.json")
    loaded = QuantizationRanges.load(tmp_path / "ranges.json")
    assert loaded == other
    with pytest.raises(ValueError, match="Missing: .*'joined'.*Not known here: 'conv'"):
        SimulatedStudent(student, loaded)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "dictionary of version 1. Received: 'list'"),
        ("{}", "dictionary of version 1. Received: None"),
        ('{"version": 1}', "not empty. Received: None"),
        ('{"version": 1, "ranges": {"conv": [1, 2]}}', "range of 'conv'"),
        ('{"version": 1, "ranges": {"conv": [0, NaN]}}', "range of 'conv'"),
        ('{"version": 1, "ranges": {"conv": "wide"}}', "range of 'conv'"),
        ("{", "ranges.json: "),
    ],
)
def test_damaged_ranges_are_refused(content, message, tmp_path):
    path = tmp_path / "ranges.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        QuantizationRanges.load(path)


def test_held_weights_do_not_follow_the_student():
    image = keras.Input((4,), name="image")
    student = keras.Model(image, layers.Dense(3, name="dense")(image))
    ranges = QuantizationRanges({"image": (-2.0, 2.0), "dense": (-8.0, 8.0)})
    following, holding = (SimulatedStudent(student, ranges) for _ in range(2))
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    before = keras.ops.convert_to_numpy(following(x))
    holding.hold_weights()
    student.set_weights([weight * 0.5 for weight in student.get_weights()])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(holding(x)), before)
    after = keras.ops.convert_to_numpy(following(x))
    assert np.abs(after - before).max() > 0.1
