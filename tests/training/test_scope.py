"""What is assigned while a step runs, against Keras's own training."""

import keras
import numpy as np
import pytest

from keras_diffkd import DistillationMethod, Distiller, FitNet

BACKEND = keras.backend.backend()
MODES = {
    "tensorflow": [{"jit_compile": False}, {"jit_compile": True}],
    "jax": [{"jit_compile": True}],
    "torch": [{"jit_compile": False}],
}[BACKEND]
EAGERLY = [{"run_eagerly": True}]
modes = pytest.mark.parametrize("mode", MODES, ids=str)
modes_and_eagerly = pytest.mark.parametrize("mode", MODES + EAGERLY, ids=str)


def model_of(*layers):
    x = image = keras.Input((6,))
    for layer in layers:
        x = layer(x)
    return keras.Model(image, keras.layers.Dense(3)(x))


def dense(width=4):
    return keras.layers.Dense(width, activation="relu", name="features")


def data():
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32")


def train(model, mode, epochs=2):
    """Trains a student's plain model, or a distiller, in eight steps."""
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **mode,
    )
    keras.utils.set_random_seed(1)
    fit = {"batch_size": 16, "epochs": epochs, "shuffle": False, "verbose": 0}
    return model.fit(*data(), **fit).history


def both(make, mode, variables=lambda model: model.variables):
    """Returns what Keras and the distiller leave in the variables of a model."""
    results = []
    for wrap in (lambda m: m, lambda m: Distiller(None, m, [])):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        model = make()
        train(wrap(model), mode)
        results.append([keras.ops.convert_to_numpy(v.value) for v in variables(model)])
    return results


def check_same(results, **tolerance):
    tolerance = {"rtol": 1e-4, "atol": 1e-6, **tolerance}
    for plain, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, plain, **tolerance)


class Counter(keras.layers.Layer):
    """Counts its calls and subtracts a mean that it moves, then reads."""

    def build(self, shape):
        self.calls = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.mean = self.add_weight(
            shape=(shape[-1],), initializer="zeros", trainable=False
        )

    def call(self, x, training=False):
        if training:
            self.calls.assign_add(1)
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x, axis=0))
        return x - self.mean


class Noise(keras.layers.Layer):
    """Adds noise of no generator of its own, and keeps what it drew."""

    def build(self, shape):
        self.drawn = self.add_weight(shape=(8,), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if not training:
            return x
        noise = keras.random.normal(keras.ops.shape(x))
        self.drawn.assign(keras.ops.concatenate([self.drawn[1:], noise[0, :1]]))
        return x + 0.1 * noise


class WithMetric(keras.layers.Layer):
    """Watches the mean of what it is given."""

    def __init__(self):
        super().__init__(name="watching")
        self.watched = keras.metrics.Mean(name="watched")

    def call(self, x):
        self.watched.update_state(keras.ops.mean(keras.ops.square(x)))
        return x


@modes_and_eagerly
def test_state_that_a_layer_reads_after_it_has_assigned_it(mode):
    def make():
        return model_of(keras.layers.Dense(6), Counter(), dense())

    results = both(make, mode)
    check_same(results)
    assert any(np.array_equal(value, 8) for value in results[1])


@modes
@pytest.mark.backend("tensorflow", "torch")
def test_spectral_normalization(mode):
    def make():
        model = model_of(keras.layers.SpectralNormalization(dense()))
        kernel = model.layers[1].layer.kernel
        kernel.assign(kernel * 5)
        return model

    results = both(make, mode)
    check_same(results)
    kernel = next(value for value in results[1] if value.shape == (6, 4))
    assert np.linalg.svd(kernel, compute_uv=False)[0] < 1.5


@modes_and_eagerly
@pytest.mark.backend("jax")
def test_spectral_normalization_is_not_lost_on_jax(mode):
    # Keras's own training on JAX drops the kernel that the layer assigns.
    model = model_of(keras.layers.SpectralNormalization(dense()))
    kernel = model.layers[1].layer.kernel
    kernel.assign(kernel * 5)
    train(Distiller(None, model, []), mode)
    assert np.linalg.svd(np.asarray(kernel), compute_uv=False)[0] < 1.5


@modes_and_eagerly
def test_noise_of_the_global_generator_is_new_in_every_step(mode):
    if BACKEND == "jax" and "run_eagerly" not in mode:
        pytest.skip("Keras refuses the global generator in compiled JAX")

    def make():
        return model_of(Noise(), dense())

    results = both(make, mode)
    if BACKEND != "jax":  # There Keras draws the same in every step.
        check_same(results)
    drawn = next(value for value in results[1] if value.shape == (8,))
    assert len(set(drawn.tolist())) == 8


@pytest.mark.backend("jax")
def test_the_global_generator_is_refused_as_keras_refuses_it():
    distiller = Distiller(None, model_of(Noise(), dense()), [])
    with pytest.raises(ValueError, match="you should create a `SeedGenerator`"):
        train(distiller, {})


@modes
def test_metrics_that_layers_update(mode):
    # Keras's own training on JAX fails on such a layer.
    logs = train(Distiller(None, model_of(WithMetric(), dense()), []), mode)
    expected = np.mean(np.square(data()[0]))
    np.testing.assert_allclose(logs["watched"], [expected] * 2, rtol=1e-5)


@modes_and_eagerly
def test_variables_that_nobody_tracks(mode):
    """Of a method and of a function before the teacher, seen by neither model."""
    seen = keras.Variable(np.zeros((), "float32"), trainable=False)
    seeds = keras.random.SeedGenerator(3)
    doubled = keras.Variable(np.zeros((), "float32"), trainable=False)

    class Counting(FitNet):
        def compute_losses(self, *args, **kwargs):
            seen.assign(seen + 1)
            return super().compute_losses(*args, **kwargs)

    def preprocess(x):
        doubled.assign(doubled * 2 + 1)
        return x + keras.random.normal((), seed=seeds)

    methods = [Counting("features", "features")]
    distiller = Distiller(
        model_of(dense(8)), model_of(dense()), methods, teacher_preprocess=preprocess
    )
    train(distiller, {**mode, "preflight": False})
    assert float(seen.value) == 8
    assert float(doubled.value) == 2**8 - 1
    assert keras.ops.convert_to_numpy(seeds.state.value).tolist() == [3, 8]


class Restless(keras.layers.Layer):
    """Assigns a weight, a metric and an untracked variable in inference, too."""

    def __init__(self):
        super().__init__()
        self.mean = keras.metrics.Mean(name="restless")
        self.hidden = {id(self): keras.Variable(0.0, trainable=False)}

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.mean.update_state(1.0)
        (hidden,) = self.hidden.values()
        for variable in (self.calls, hidden):
            variable.assign(variable + 1)
        return x


@modes
def test_the_teacher_stays_as_it_is_whatever_it_assigns(mode):
    restless = Restless()
    teacher = model_of(restless, dense(8))
    hidden = next(iter(restless.hidden.values()))
    of_teacher = [restless.calls, hidden, *restless.mean.variables]
    for variable in of_teacher:
        variable.assign(keras.ops.zeros_like(variable.value))
    distiller = Distiller(teacher, model_of(dense()), [FitNet("features", "features")])
    train(distiller, {**mode, "preflight": False})
    assert [float(variable.value) for variable in of_teacher] == [0.0] * 4


@modes
def test_a_skipped_step_leaves_what_it_assigned(mode):
    """Under loss scaling; the gradient is that at the assigned kernel."""
    model = model_of(keras.layers.SpectralNormalization(dense()))
    distiller = Distiller(None, model, [])
    distiller.compile(
        keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.1), initial_scale=3e38
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **mode,
    )
    before = [keras.ops.convert_to_numpy(v.value) for v in model.variables]
    x, y = data()
    distiller.fit(100 * x[:16], y[:16], verbose=0)
    after = [keras.ops.convert_to_numpy(v.value) for v in model.variables]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


class Sampling(keras.layers.Layer):
    """Adds noise of its own generator, in inference, too."""

    def __init__(self):
        super().__init__(name="features")
        self.generator = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.generator)


class Mean(DistillationMethod):
    """Its loss is the mean of the teacher's feature."""

    loss_weights = {"mean": 1.0}

    def compute_losses(self, teacher, student, targets=None, training=True):
        return {"mean": keras.ops.mean(teacher) + 0 * keras.ops.mean(student)}


@modes
def test_a_teacher_that_samples_draws_anew(mode):
    methods = [Mean("features", "features", name="noise")]
    sampling = Sampling()
    distiller = Distiller(model_of(sampling), model_of(dense()), methods)
    draws = train(distiller, {**mode, "preflight": False}, epochs=4)["noise/mean"]
    assert len(set(draws)) == 4
    state = keras.ops.convert_to_numpy(sampling.generator.state.value)
    assert state.tolist() == [3, 16]


class Drawing(DistillationMethod):
    """Its loss is a draw of the global generator."""

    def compute_losses(self, teacher, student, targets=None, training=True):
        return {"draw": keras.random.uniform(())}

    @property
    def loss_weights(self):
        return {"draw": 1.0}


@modes
@pytest.mark.backend("tensorflow", "torch")
def test_a_method_draws_anew(mode):
    distiller = Distiller(
        model_of(dense(8)), model_of(dense()), [Drawing(None, None, name="drawing")]
    )
    draws = train(distiller, {**mode, "preflight": False}, epochs=4)["drawing/draw"]
    assert len(set(draws)) == 4
