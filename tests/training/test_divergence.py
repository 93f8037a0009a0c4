"""A step that is not finite is not applied, on every backend, however it runs."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import (
    DistillationMethod,
    Distiller,
    FitNet,
    LogitsKD,
    TrainingDivergedError,
)
from keras_diffkd.training.divergence import _too_many_skipped

BACKEND = keras.backend.backend()
MODES = {
    "plain": {},
    "compiled": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "four steps at once": {"steps_per_execution": 4},
}
if BACKEND == "torch":
    # It compiles for minutes, and Keras runs one step at a time.
    MODES = {"plain": {}}


class Bad(DistillationMethod):
    """A method whose loss, or whose loss's gradient, is not finite."""

    loss_weights = {"one": 1.0}

    def __init__(self, what):
        super().__init__(name="bad")
        self.what = what

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        zero = 0.0 * keras.ops.sum(student_features)
        if self.what == "loss":
            return {"one": keras.ops.log(zero)}
        return {"one": keras.ops.sqrt(zero)}


def make_distiller(methods=None, optimizer=None, **arguments):
    keras.utils.set_random_seed(0)
    distiller = Distiller(
        small_cnn(12), small_cnn(6), [LogitsKD()] if methods is None else methods
    )
    optimizer = optimizer or keras.optimizers.SGD(0.05, momentum=0.9)
    # What is not finite is there from the start, and is to get as far as a step.
    distiller.compile(optimizer, cross_entropy(), preflight=False, **arguments)
    return distiller


def state_of(distiller):
    variables = [*distiller.variables, *distiller.optimizer.variables]
    return [keras.ops.convert_to_numpy(v.value) for v in variables]


def train(distiller, x, y, **arguments):
    return distiller.fit(x, y, batch_size=8, shuffle=False, verbose=0, **arguments)


@pytest.fixture
def data(rng):
    return random_batch(rng, 32)


@pytest.fixture(scope="module")
def after_two_steps():
    distiller = make_distiller()
    x, y = random_batch(np.random.default_rng(0), 32)
    train(distiller, x[:16], y[:16])
    return state_of(distiller)


@pytest.mark.parametrize("mode", MODES)
def test_training_ends_before_the_step_and_keeps_the_batch(mode, data, after_two_steps):
    x, y = data
    x[21, 3] = np.nan
    distiller = make_distiller(**MODES[mode])
    said = r"step 3 of epoch 1\. First value not finite: the inputs \(sample 5 of 8\)"
    with pytest.raises(TrainingDivergedError, match=said) as caught:
        train(distiller, x, y, epochs=2)
    error = caught.value
    assert (error.epoch, error.step) == (1, 3)
    np.testing.assert_array_equal(error.arrays()["x"], x[16:24])
    np.testing.assert_array_equal(error.arrays()["y"], y[16:24])
    for ours, expected in zip(state_of(distiller), after_two_steps, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    # And it can go on from there.
    train(distiller, np.nan_to_num(x), y)
    assert all(np.isfinite(value).all() for value in state_of(distiller))


def nothing(distiller, x, y, weights):
    pass


def break_teacher(distiller, x, y, weights):
    kernel = distiller.teacher.get_layer("logits").kernel
    kernel.assign(keras.ops.full(kernel.shape, np.inf))


def break_student(distiller, x, y, weights):
    kernel = distiller.student.get_layer("logits").kernel
    kernel.assign(kernel * np.nan)


def enlarge(distiller, x, y, weights):
    kernel = distiller.student.get_layer(index=1).kernel
    kernel.assign(1e25 * kernel)  # Finite features, but their variance is not.


def break_weights(distiller, x, y, weights):
    weights[2:5] = np.inf


CULPRITS = {
    "teacher": (break_teacher, LogitsKD, "the teacher's weight 'logits/kernel'"),
    "student": (break_student, LogitsKD, "the weight 'logits/kernel'"),
    "sample weight": (
        break_weights,
        LogitsKD,
        "the sample weights (sample 2, 3, 4 of 8)",
    ),
    "loss": (nothing, lambda: Bad("loss"), "the loss bad/one"),
    "gradient": (nothing, lambda: Bad("gradient"), "the gradient of "),
    "statistic": (enlarge, LogitsKD, "the moving statistic "),
}

if BACKEND == "torch":
    del CULPRITS["statistic"]  # Its output is NaN there, which comes first.


@pytest.mark.parametrize("case", CULPRITS)
def test_the_first_culprit_is_named(case, data):
    prepare, method, name = CULPRITS[case]
    x, y = (values[:8] for values in data)
    weights = np.ones(8, "float32")
    distiller = make_distiller([method()], run_eagerly=True)
    prepare(distiller, x, y, weights)
    before = state_of(distiller)
    with pytest.raises(
        TrainingDivergedError, match="This step was not applied"
    ) as caught:
        train(distiller, x, y, sample_weight=weights)
    culprit = caught.value.culprits[0]
    assert culprit.startswith(name)
    assert f"First value not finite: {culprit}" in str(caught.value)
    if case == "statistic":
        # Neither losses nor gradients tell.
        assert [c for c in caught.value.culprits if not c.startswith(name)] == []
    for ours, expected in zip(state_of(distiller), before, strict=False):
        np.testing.assert_array_equal(ours, expected)


def test_a_teacher_s_feature_that_overflows_is_named(data):
    x, y = data
    distiller = make_distiller([FitNet("features", "features")])
    for variable in distiller.teacher.get_layer(index=1).weights:
        variable.assign(variable + 1e38)
    with pytest.raises(TrainingDivergedError) as caught:
        train(distiller, 100 * np.abs(x), y)
    assert caught.value.culprits[0] == "the teacher's feature 'features'"
    assert "teacher_preprocess" in str(caught.value)


def test_a_student_alone_is_checked_too(data):
    x, y = data
    x[0] = np.inf
    with pytest.raises(TrainingDivergedError, match="the inputs"):
        train(make_distiller([]), x, y)


def test_an_input_that_no_layer_reads_is_checked_too(data):
    x, y = data
    x[3, 0] = np.nan
    image = keras.Input((8, 8, 1))
    inside = keras.layers.Flatten()(keras.layers.Cropping2D(1)(image))
    student = keras.Model(image, keras.layers.Dense(10)(inside))
    distiller = Distiller(student=student)
    distiller.compile("sgd", cross_entropy(), preflight=False)
    with pytest.raises(TrainingDivergedError) as caught:
        train(distiller, x, y)
    assert caught.value.culprits == ["the inputs (sample 3 of 8)"]


def test_a_batch_on_its_own(data):
    x, y = data
    x[0] = np.inf
    distiller = make_distiller()
    with pytest.raises(TrainingDivergedError):
        train(distiller, x, y)
    # The `fit` that failed is over.
    with pytest.raises(TrainingDivergedError, match="diverged in this step") as caught:
        distiller.train_on_batch(x, y)
    assert caught.value.step is None


def float16_distiller(dynamic_scale=2.0**15, **arguments):
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.01), initial_scale=dynamic_scale
    )
    return make_distiller(optimizer=optimizer, **arguments)


def test_steps_that_loss_scaling_skips_are_counted_and_leave_no_trace(data):
    x, y = data
    distiller = float16_distiller(dynamic_scale=2.0**40)
    before = [keras.ops.convert_to_numpy(v) for v in distiller.student.variables]
    history = train(distiller, x, y, validation_data=(x, y), epochs=2).history
    assert history["skipped_steps"] == [4.0, 4.0]
    assert np.all(np.isfinite(history["loss"]))
    assert not any("skipped" in name for name in history if name.startswith("val_"))
    assert float(distiller.optimizer.dynamic_scale.value) == 2.0**32
    for variable, value in zip(distiller.student.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


def test_without_loss_scaling_no_skipped_steps_are_logged(data):
    assert "skipped_steps" not in train(make_distiller(), *data).history


@pytest.mark.parametrize("mode", sorted({"plain", "four steps at once"} & set(MODES)))
def test_too_many_skipped_steps_in_a_row_end_training(mode, data):
    x, y = data
    distiller = float16_distiller(2.0**60, max_skipped_steps=6, **MODES[mode])
    with pytest.raises(TrainingDivergedError, match="6 steps in a row were") as caught:
        train(distiller, x, y, epochs=3)
    # A row goes over the end of an epoch of four steps.
    assert (caught.value.epoch, caught.value.step) == (2, 2)
    assert caught.value.culprits[0].startswith("the gradient of")
    assert "even at a loss scale of" in str(caught.value)


def test_a_loss_that_is_not_finite_is_no_matter_of_the_scale(data):
    x, y = data
    x[0] = np.inf
    distiller = float16_distiller()
    with pytest.raises(
        TrainingDivergedError, match="First value not finite: the inputs"
    ):
        train(distiller, x, y)
    assert float(distiller.optimizer.dynamic_scale.value) == 2.0**15


@pytest.mark.parametrize("steps", [0, -1, 1.5, float("nan"), None, True])
def test_max_skipped_steps_is_a_positive_integer(steps):
    with pytest.raises(ValueError, match=f"max_skipped_steps.*{steps}"):
        make_distiller(max_skipped_steps=steps)


def test_validation_that_is_not_finite_is_named(data):
    x, y = data
    bad = x.copy()
    bad[3] = np.inf
    with pytest.warns(UserWarning, match="after epoch 1: val_loss is (nan|inf)"):
        train(make_distiller(), x, y, validation_data=(bad, y))


@pytest.mark.parametrize("mode", MODES)
def test_the_largest_floats_are_finite_though_their_sum_is_not(data, mode):
    x, y = data
    # What rasters write where there is no data; the models clip it.
    x[[3, 7], 0, 0, 0] = -3.4e38

    def clipping(width):
        image = keras.Input(x.shape[1:])
        return keras.Model(image, small_cnn(width)(keras.ops.clip(image, -1.0, 1.0)))

    keras.utils.set_random_seed(0)
    distiller = Distiller(clipping(12), clipping(6), [LogitsKD()])
    distiller.compile("sgd", cross_entropy(), preflight=False, **MODES[mode])
    history = train(distiller, x, y).history
    assert np.isfinite(history["loss"][0])
    x[9, 0, 0, 0] = np.inf
    with pytest.raises(TrainingDivergedError, match=r"the inputs \(sample 1 of 8\)"):
        train(distiller, x, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", MODES)
def test_one_value_in_many_is_found(data, mode, bad):
    x, y = data
    x[17, 1, 1, 0] = bad
    with pytest.raises(TrainingDivergedError, match=r"the inputs \(sample 1 of 8\)"):
        train(make_distiller(**MODES[mode]), x, y)


def test_steps_skipped_for_another_replica_are_explained():
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    distiller = make_distiller(optimizer=scaled, max_skipped_steps=1)
    scaled.build(distiller.trainable_variables)
    said = _too_many_skipped(distiller, "step 2 of epoch 1", culprits=[])
    assert "gradients of another replica were not finite" in said
