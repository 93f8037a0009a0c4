"""Weights that training sets itself, against gradients computed by hand."""

import keras
import numpy as np
import pytest
from helpers.every_method import METHODS, two_stages
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import (
    AFD,
    DistillationMethod,
    Distiller,
    FitNet,
    LogitsKD,
)
from keras_diffkd.callbacks import TrainingBackup
from keras_diffkd.errors import PreflightError, PreflightWarning
from keras_diffkd.training import loss_balance

MODES = {"plain": {}, "eager": {"run_eagerly": True}, "compiled": {"jit_compile": True}}
if keras.backend.backend() == "torch":
    MODES = {"plain": {}}


class SumOfSquares(DistillationMethod):
    """Compares features by the sum of squared differences over the mean batch."""

    def __init__(self, *args, weight="balanced", **kwargs):
        super().__init__(*args, **kwargs)
        self.weight = weight

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        squares = keras.ops.square(student_features - teacher_features)
        return {"distill": keras.ops.sum(keras.ops.mean(squares, axis=0))}


def two_dense(width, name=None):
    x = image = keras.Input((6,))
    x = keras.layers.Dense(5, name="features")(x)
    x = keras.layers.Activation("tanh")(x) if width else x
    return keras.Model(image, keras.layers.Dense(3, name="logits")(x), name=name)


def make_distiller(methods, learning_rate=0.0, task_loss_weight=1.0, **arguments):
    keras.utils.set_random_seed(0)
    distiller = Distiller(
        two_dense(0), two_dense(1), methods, task_loss_weight=task_loss_weight
    )
    distiller.compile(keras.optimizers.SGD(learning_rate), cross_entropy(), **arguments)
    return distiller


@pytest.fixture
def data(rng):
    return rng.normal(size=(32, 6)).astype("float32"), rng.integers(0, 3, 32)


def arrays(layer):
    return [np.array(v, "float64") for v in layer.get_weights()]


def expected_ratio(distiller, x, y, tap):
    """Norm of the task's gradient over that of the matching loss, in float64."""
    student, teacher = distiller.student, distiller.teacher

    def forward(model, x):
        kernel, bias = arrays(model.get_layer("features"))
        features = x @ kernel + bias
        kernel, bias = arrays(model.get_layer("logits"))
        hidden = np.tanh(features) if model is student else features
        return features, hidden, hidden @ kernel + bias

    features, hidden, logits = forward(student, np.asarray(x, "float64"))
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    of_task = (p - np.eye(3)[y]) / len(x)
    target = forward(teacher, np.asarray(x, "float64"))
    if tap == "features":
        kernel, _ = arrays(student.get_layer("logits"))
        of_task = of_task @ kernel.T * (1 - hidden**2)
        of_matching = 2 * (features - target[0]) / len(x)
    else:
        of_matching = 2 * (logits - target[2]) / len(x)
    return np.linalg.norm(of_task) / np.linalg.norm(of_matching)


@pytest.mark.parametrize(
    ("tap", "mode"),
    [*(("features", mode) for mode in MODES), ("logits", "plain"), (None, "plain")],
)
def test_the_weight_is_twice_the_mean_ratio_of_gradient_norms(data, tap, mode):
    distiller = make_distiller([SumOfSquares(tap, tap, name="m")], **MODES[mode])
    x, y = data
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]
    expected = [expected_ratio(distiller, *batch, tap or "logits") for batch in batches]
    history = distiller.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    weight = float(distiller.loss_balance.weights_by_name()["m/distill"])
    np.testing.assert_allclose(weight, 2 * np.mean(expected), rtol=1e-4)
    # The first step has the weight 1, the others what the steps before them measured,
    # and at most 1.4 times as much from step to step.
    used = [1.0] + [min(2 * np.mean(expected[:i]), 1.4**i) for i in (1, 2, 3)]
    np.testing.assert_allclose(history["m/distill_weight"], np.mean(used), rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_the_weight_multiplies_the_loss_and_stops_changing(data, monkeypatch, mode):
    monkeypatch.setattr(loss_balance, "STEPS", 3)
    distiller = make_distiller(
        [SumOfSquares("features", "features", name="m")], 0.1, **MODES[mode]
    )
    x, y = data
    settled = []

    def weight():
        return float(distiller.loss_balance.weights_by_name()["m/distill"])

    for _ in range(4):
        distiller.fit(x[:8], y[:8], batch_size=8, verbose=0)
        settled.append(weight())
    assert len(set(settled[:3])) == 3
    assert settled[3] == settled[2]
    logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert "m/distill_weight" not in logs
    history = distiller.fit(x, y, batch_size=32, verbose=0).history
    assert history["m/distill_weight"] == [pytest.approx(settled[-1])]
    np.testing.assert_allclose(
        history["loss"][0],
        history["task_loss"][0] + weight() * history["m/distill"][0],
        rtol=1e-5,
    )


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_student_that_begins_as_its_teacher_is_not_ruined(data, noise):
    """Its matching gradient is almost 0: the ratios are those of a huge weight."""
    x, _ = data
    keras.utils.set_random_seed(0)
    teacher = two_dense(1)
    y = np.argmax(np.array(teacher(x)), axis=-1)
    losses = {}
    for weight in (1.0, "balanced"):
        student = keras.models.clone_model(teacher)
        changes = np.random.default_rng(0)
        student.set_weights(
            [w + noise * changes.normal(size=w.shape) for w in teacher.get_weights()]
        )
        distiller = Distiller(teacher, student, [LogitsKD(weight=weight, name="kd")])
        distiller.compile(keras.optimizers.SGD(0.1, momentum=0.9), cross_entropy())
        history = distiller.fit(
            x, y, batch_size=8, epochs=10, shuffle=False, verbose=0
        ).history
        losses[weight] = history["task_loss"][-1]
    # The student left the teacher, so the gradient at first said nothing.
    assert history["kd/distill_weight"][-1] == 1.0
    assert losses["balanced"] == pytest.approx(losses[1.0], rel=0.2)


def test_the_weights_of_other_methods_do_not_matter(data):
    alone = make_distiller([SumOfSquares("features", "features", name="m")])
    methods = [
        LogitsKD(weight=7.0),
        SumOfSquares("features", "features", name="m"),
        SumOfSquares("features", "features", weight=3.0, name="other"),
    ]
    beside = make_distiller(methods)
    for distiller in (alone, beside):
        distiller.fit(*data, batch_size=8, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        *(
            float(d.loss_balance.weights_by_name()["m/distill"])
            for d in (alone, beside)
        ),
        rtol=1e-5,
    )


def test_the_weight_of_the_task_loss_scales_the_balance(data):
    weights = []
    for task_loss_weight in (1.0, 3.0):
        distiller = make_distiller(
            [SumOfSquares("features", "features")], task_loss_weight=task_loss_weight
        )
        distiller.fit(*data, batch_size=8, shuffle=False, verbose=0)
        weights.append(float(*distiller.loss_balance.weights_by_name().values()))
    np.testing.assert_allclose(weights[1], 3 * weights[0], rtol=1e-5)


def test_batches_without_labels_that_count_are_left_out(data):
    x, y = data
    counted = np.repeat([0.0, 1.0, 0.0, 1.0], 8)
    distiller = make_distiller([SumOfSquares("features", "features")])
    distiller.fit(x, y, sample_weight=counted, batch_size=8, shuffle=False, verbose=0)
    assert np.array(distiller.loss_balance.counts).tolist() == [2]
    expected = [
        expected_ratio(distiller, x[i : i + 8], y[i : i + 8], "features")
        for i in (8, 24)
    ]
    np.testing.assert_allclose(
        float(*distiller.loss_balance.weights_by_name().values()),
        2 * np.mean(expected),
        rtol=1e-4,
    )


def test_lists_of_taps_and_channels_first_maps(rng):
    """AFD reads two layers; the norm is over both."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(image)
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="b")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(10)(x))
    method = AFD(["a", "b"], ["a", "b"], key_dim=4, weight="balanced")
    distiller = Distiller(keras.models.clone_model(model), model, [method])
    distiller.compile(keras.optimizers.SGD(0.0), cross_entropy())
    history = distiller.fit(*random_batch(rng, 32), verbose=0).history
    weight = float(distiller.loss_balance.weights_by_name()["afd/distill"])
    assert np.isfinite(history["loss"]).all()
    assert weight != 1.0
    assert weight > 0


def test_every_method_can_be_balanced(rng):
    methods = [make() for make in METHODS.values()]
    for method in methods:
        name = "weight" if hasattr(method, "weight") else "distill_weight"
        setattr(method, name, "balanced")
    distiller = Distiller(two_stages(12), two_stages(8), methods)
    eagerly = keras.backend.backend() == "tensorflow"
    distiller.compile("adam", cross_entropy(), run_eagerly=eagerly)
    history = distiller.fit(*random_batch(rng, 24), batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert np.array(distiller.loss_balance.counts).tolist() == [3] * len(methods)
    weights = distiller.loss_balance.weights_by_name()
    assert list(weights) == [f"{method.name}/distill" for method in methods]
    for name, weight in weights.items():
        assert 1e-4 < float(weight) < 1e6, name


def test_half_precision_measures_about_the_same(rng):
    ratios = []
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        keras.utils.set_random_seed(0)
        method = FitNet("features", "features", weight="balanced")
        distiller = Distiller(small_cnn(12), small_cnn(6), [method])
        distiller.compile(keras.optimizers.SGD(0.01), cross_entropy())
        distiller.fit(*random_batch(np.random.default_rng(0), 64), verbose=0)
        ratios.append(float(*np.array(distiller.loss_balance.ratios)))
    keras.config.set_dtype_policy("float32")
    assert ratios[0] > 0
    np.testing.assert_allclose(ratios[1], ratios[0], rtol=0.05)


def test_a_loaded_distiller_keeps_the_weight(data, tmp_path):
    keras.utils.set_random_seed(0)
    method = FitNet("features", "features", weight="balanced")
    distiller = Distiller(two_dense(0), two_dense(1), [method])
    distiller.compile(keras.optimizers.SGD(0.01), cross_entropy())
    distiller.fit(*data, batch_size=8, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.methods[0].weight == "balanced"
    before, after = (d.loss_balance.weights_by_name() for d in (distiller, loaded))
    assert float(after["fitnet/distill"]) == float(before["fitnet/distill"]) != 1.0
    loaded.attach_teacher(distiller.teacher)
    loaded.fit(*data, batch_size=8, verbose=0)
    assert np.array(loaded.loss_balance.steps) == 8


def test_an_interrupted_training_goes_on_measuring(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loss_balance, "STEPS", 6)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def train(*callbacks):
        method = SumOfSquares("features", "features", name="m")
        distiller = make_distiller([method], 0.1)
        distiller.fit(
            *data, batch_size=8, epochs=4, shuffle=False, verbose=0, callbacks=callbacks
        )
        return float(distiller.loss_balance.weights_by_name()["m/distill"])

    undisturbed = train()
    with pytest.raises(KeyboardInterrupt):
        train(TrainingBackup(tmp_path), Interrupt())
    assert train(TrainingBackup(tmp_path)) == undisturbed


def test_a_number_takes_the_place_of_a_balanced_weight(data):
    distiller = make_distiller([SumOfSquares("features", "features", name="m")])
    distiller.fit(*data, verbose=0)
    distiller.methods[0].weight = 5.0
    history = distiller.fit(*data, batch_size=32, verbose=0).history
    assert history["m/distill_weight"] == [5.0]
    np.testing.assert_allclose(
        history["loss"][0],
        history["task_loss"][0] + 5 * history["m/distill"][0],
        rtol=1e-5,
    )


def test_computed_losses_use_the_weight(data):
    distiller = make_distiller([SumOfSquares("features", "features", name="m")])
    distiller.fit(*data, batch_size=8, shuffle=False, verbose=0)
    losses, _ = distiller.compute_training_losses(*data)
    weight = float(distiller.loss_balance.weights_by_name()["m/distill"])
    np.testing.assert_allclose(
        float(losses["loss"]),
        float(losses["task_loss"]) + weight * float(losses["m/distill"]),
        rtol=1e-5,
    )


def test_a_loss_without_labels_cannot_be_balanced(data):
    distiller = make_distiller(
        [SumOfSquares("features", "features")], task_loss_weight=0.0
    )
    with pytest.raises(PreflightError, match="task loss, whose weight is 0.*Set a"):
        distiller.fit(*data, verbose=0)


def test_a_weight_that_was_a_number_cannot_become_balanced(data):
    distiller = make_distiller([SumOfSquares("features", "features", weight=1.0)])
    distiller.methods[0].weight = "balanced"
    with pytest.raises(ValueError, match="'balanced'.*new Distiller"):
        distiller.fit(*data, verbose=0)


@pytest.mark.parametrize("weight", ["balance", "auto", None, [1.0]])
def test_other_texts_are_refused(weight):
    with pytest.raises(ValueError, match=r'`weight` must be .*"balanced".*Received'):
        LogitsKD(weight=weight)


def test_a_student_that_stands_still_is_not_measured(data):
    distiller = make_distiller([FitNet("features", "features", weight="balanced")], 0.1)
    distiller.student.trainable = False
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    before = [np.array(v) for v in distiller.methods[0].trainable_variables]
    with pytest.warns(PreflightWarning, match="only layers of the methods are trained"):
        distiller.fit(*data, batch_size=4, verbose=0)
    assert int(distiller.loss_balance.steps) == 0
    after = map(np.array, distiller.methods[0].trainable_variables)
    assert not all(map(np.array_equal, before, after))

    distiller.student.trainable = True
    distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
    distiller.fit(*data, batch_size=4, verbose=0)
    assert int(distiller.loss_balance.steps) > 0
