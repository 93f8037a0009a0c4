"""Distillers that train their student in int8."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, small_cnn
from keras import layers
from sklearn.datasets import load_digits

from keras_diffkd import Distiller, KDiffusion, LogitsKD, QuantizationAware
from keras_diffkd.callbacks import TrainingBackup
from keras_diffkd.quantization import SimulatedStudent


def filled(model, seed=0):
    """The same weights on every backend."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "kernel":
            weight.assign(rng.normal(size=weight.shape, scale=0.3))
        elif weight.name == "moving_variance":
            weight.assign(rng.uniform(0.5, 2.0, size=weight.shape))
        elif weight.name == "moving_mean":
            weight.assign(rng.normal(size=weight.shape, scale=0.2))
    return model


def student(seed=0):
    """A residual block and a depthwise convolution."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(6, 3, use_bias=False, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.BatchNormalization(name="depthwise_norm")(y)
    x = layers.ReLU(name="features")(layers.Add(name="sum")([x, y]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return filled(keras.Model(image, layers.Dense(4, name="logits")(x)), seed)


def batches(size=32):
    rng = np.random.default_rng(3)
    return rng.normal(size=(size, 8, 8, 1)).astype("float32"), rng.integers(0, 4, size)


def distiller_of(jit_compile="auto", **settings):
    keras.utils.set_random_seed(0)
    distiller = Distiller(
        student(1), student(), [LogitsKD()], quantization=QuantizationAware(**settings)
    )
    distiller.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        cross_entropy(),
        metrics=["accuracy"],
        jit_compile=jit_compile,
        preflight=False,
    )
    return distiller


def fit(distiller, *callbacks, epochs=4):
    x, y = batches()
    arguments = {"batch_size": 8, "shuffle": False, "verbose": 0}
    history = distiller.fit(
        x,
        y,
        epochs=epochs,
        validation_data=(x, y),
        callbacks=list(callbacks),
        **arguments,
    )
    return history.history


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


# Of TensorFlow 2.21 without XLA: all backends must agree.
LOSSES = {
    "moving": [1.51684, 1.37424, 1.45297, 1.36684],
    "learned": [1.51673, 1.37459, 1.45192, 1.36694],
}
# Of image, stem_relu, depthwise_norm, features, pool and logits.
RANGES = {
    "moving": [
        *(-2.9777, 3.2918, 0.0, 3.2066, -3.4341, 4.1748),
        *(0.0, 6.7615, 0.0, 1.5114, -0.8415, 0.6309),
    ],
    "learned": [
        *(-3.0584, 3.323, 0.0, 3.1356, -3.1762, 4.1602),
        *(0.0, 6.979, 0.0, 1.4123, -1.0791, 0.7535),
    ],
}


@pytest.fixture(scope="module", params=["moving", "learned"])
def trained(request):
    """A trained distiller, its logs, and the variables when ranges froze."""
    distiller = distiller_of(ranges=request.param, momentum=0.9)
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model = self.model  # On JAX, this updates the variables.
            norm = model.student.get_layer("norm")
            moving = [array(norm.moving_mean), array(norm.moving_variance)]
            seen.append((model.quantization_ranges(), moving))

    return request.param, distiller, fit(distiller, Watch()), seen


def test_predictions_are_those_of_the_simulated_student(trained):
    _, distiller, logs, _ = trained
    x, y = batches()
    ranges = distiller.quantization_ranges()
    outputs = array(SimulatedStudent(distiller.strip(), ranges)(x))
    np.testing.assert_allclose(distiller.predict(x, verbose=0), outputs, atol=1e-6)
    minimum, maximum = ranges.minimums_maximums["logits"]
    steps = outputs * 255 / (maximum - minimum)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-2)
    of_float = array(distiller.strip()(x, training=False))
    assert 0 < np.abs(of_float - outputs).max() < 0.2
    accuracy = np.mean(outputs.argmax(-1) == y)
    assert logs["val_accuracy"][-1] == pytest.approx(accuracy)


def test_ranges_begin_with_the_first_batch_and_freeze(trained):
    kind, _, _, seen = trained
    x, _ = batches()
    ranges = [each.minimums_maximums for each, _ in seen]
    assert all(each["stem_relu"][0] == 0 for each in ranges)
    assert set(ranges[0]) == {
        *("image", "stem_relu", "depthwise_norm", "features", "pool", "logits")
    }
    # The first batch has a smaller range than all of them, and the others count 0.1.
    expected = np.array([x[:8].min(), x[:8].max()])
    if kind == "moving":
        for batch in (x[8:16], x[16:24], x[24:]):
            expected += 0.1 * (np.array([batch.min(), batch.max()]) - expected)
        np.testing.assert_allclose(ranges[0]["image"], expected, rtol=1e-5)
        assert ranges[0] != ranges[1]
        assert ranges[1] == ranges[3]  # Half of the epochs.
    else:
        np.testing.assert_allclose(ranges[0]["image"], expected, rtol=0.05)
        assert len({each["image"] for each in ranges}) == 4
    moving = [np.concatenate(each) for _, each in seen]
    assert np.abs(moving[0] - moving[1]).max() > 0
    np.testing.assert_array_equal(moving[1], moving[3])


def test_every_backend_trains_the_same(trained):
    kind, distiller, logs, _ = trained
    np.testing.assert_allclose(logs["loss"], LOSSES[kind], rtol=2e-3)
    ranges = distiller.quantization_ranges().minimums_maximums
    received = [bound for pair in ranges.values() for bound in pair]
    np.testing.assert_allclose(received, RANGES[kind], rtol=5e-3, atol=5e-3)


@pytest.mark.backend("tensorflow")
def test_compiled_steps_train_the_same(trained):
    kind, distiller, logs, _ = trained
    compiled = distiller_of(True, ranges=kind, momentum=0.9)
    np.testing.assert_allclose(fit(compiled)["loss"], logs["loss"], rtol=2e-3)
    ours, theirs = (
        np.array(list(each.quantization_ranges().minimums_maximums.values()))
        for each in (compiled, distiller)
    )
    np.testing.assert_allclose(ours, theirs, rtol=5e-3, atol=5e-3)


class Interrupt(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_batch_end(self, batch, logs=None):
        self.batches -= 1
        if not self.batches:
            raise KeyboardInterrupt


def test_a_resumed_training_ends_the_same(trained, tmp_path):
    """Interrupted inside an epoch: before the ranges freeze, or after."""
    kind, distiller, _, _ = trained
    batches = 6 if kind == "moving" else 11
    backup = TrainingBackup(tmp_path, save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        fit(distiller_of(ranges=kind, momentum=0.9), backup, Interrupt(batches))
    resumed = distiller_of(ranges=kind, momentum=0.9)
    fit(resumed, TrainingBackup(tmp_path, save_freq=1))
    for ours, theirs in zip(resumed.variables, distiller.variables, strict=True):
        np.testing.assert_allclose(array(ours), array(theirs), rtol=1e-5, atol=1e-6)


def test_a_saved_distiller_has_its_ranges(trained, tmp_path):
    _, distiller, _, _ = trained
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.quantization.get_config() == distiller.quantization.get_config()
    assert loaded.quantization_ranges() == distiller.quantization_ranges()
    x, _ = batches()
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), distiller.predict(x, verbose=0), atol=1e-6
    )


def test_the_stripped_student_is_plain(trained):
    _, distiller, _, _ = trained
    stripped = distiller.strip()
    assert stripped is distiller.student
    assert all("call" not in vars(layer) for layer in stripped.layers)
    assert not [w for w in stripped.weights if "ranges" in w.path]


def test_bfloat16_trains(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        distiller = distiller_of()
        logs = fit(distiller, epochs=1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(logs["loss"]).all()
    assert distiller.range_state.weights[0].dtype == "float32"
    distiller.quantization_ranges()


def unbalanced(model):
    """Scales channels that a ReLU keeps apart: the float student does not change.

    One channel fills the range of all, as in networks that collapse in int8.
    """
    first, second = (model.get_layer(name) for name in ("first", "second"))
    factors = np.array([300.0, *[1.0] * (first.filters - 1)])
    first.kernel.assign(array(first.kernel) * factors)
    first.bias.assign(array(first.bias) * factors)
    second.kernel.assign(array(second.kernel) / factors[:, None])


def test_training_recovers_what_rounding_loses():
    x, y = load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 16).astype("float32")
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 1), name="image")
    z = layers.Conv2D(12, 3, strides=2, activation="relu", name="first")(image)
    z = layers.Conv2D(16, 3, activation="relu", name="second")(z)
    model = keras.Model(image, layers.Dense(10, name="logits")(layers.Flatten()(z)))
    model.compile(keras.optimizers.Adam(0.01), cross_entropy(), metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=8, verbose=0)
    unbalanced(model)
    of_float = model.evaluate(x, y, verbose=0)[1]

    def trained(epochs, rate):
        student = keras.models.clone_model(model)
        student.set_weights(model.get_weights())
        distiller = Distiller(None, student, quantization=QuantizationAware())
        distiller.compile(
            keras.optimizers.Adam(rate), cross_entropy(), metrics=["accuracy"]
        )
        distiller.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
        return distiller.evaluate(x, y, verbose=0)[-1]

    naive = trained(1, 0.0)
    aware = trained(8, 3e-4)
    assert naive < of_float - 0.02
    assert aware > naive + 0.02


def test_kdiffusion_is_refused():
    with pytest.raises(ValueError, match="cannot be combined .*KDiffusion"):
        Distiller(
            small_cnn(8),
            small_cnn(4),
            [KDiffusion("features", "conv2d_1", guidance_weight=0.0)],
            quantization=QuantizationAware(),
        )


def test_ranges_are_unknown_before_training():
    distiller = distiller_of()
    x, y = batches()
    for use in (
        lambda: distiller.quantization_ranges(),
        lambda: distiller.predict(x, verbose=0),
        lambda: distiller.evaluate(x, y, verbose=0),
        lambda: distiller(x),
    ):
        with pytest.raises(ValueError, match="unknown before training"):
            use()
    with pytest.raises(ValueError, match="Only a Distiller with `quantization`"):
        Distiller(None, student()).quantization_ranges()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ranges": "fixed"}, "`ranges` must be one of .*Received: ranges='fixed'"),
        ({"momentum": 1.0}, "`momentum` must be .*Received: momentum=1.0"),
        ({"freeze_after": 2}, "`freeze_after` must be .*Received: freeze_after=2"),
        ({"skip": "stem"}, "`skip` must be a list .*Received: skip='stem'"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        QuantizationAware(**arguments)


def test_float16_is_refused():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = student()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="float32 or mixed_bfloat16.*mixed_float16"):
        Distiller(None, model, quantization=QuantizationAware())
    with pytest.raises(ValueError, match="must be None or a keras_diffkd.Quant"):
        Distiller(None, student(), quantization="int8")
