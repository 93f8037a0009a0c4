"""What `fit` does besides checking: it keeps Keras's semantics and changes nothing."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers.small_models import cross_entropy, random_batch, small_cnn, weights_of
from wrong_input_models import (
    distiller,
    images_and_labels,
    student,
    teacher,
)

from keras_diffkd import Distiller, FitNet, LogitsKD
from keras_diffkd.errors import PreflightError, PreflightWarning
from keras_diffkd.preflight import outputs

X, Y = images_and_labels()


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y, self.read = x, y, []

    def __len__(self):
        return len(self.x) // 16

    def __getitem__(self, index):
        self.read.append(index)
        return self.x[16 * index : 16 * index + 16], self.y[
            16 * index : 16 * index + 16
        ]


class Seen(keras.callbacks.Callback):
    """Counts the steps that were trained."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


def test_a_generator_loses_no_batch():
    given = []

    def batches():
        for start in range(0, 64, 16):
            given.append(start)
            yield X[start : start + 16], Y[start : start + 16]

    made, seen = distiller(), Seen()
    made.fit(batches(), steps_per_epoch=4, verbose=0, callbacks=[seen])
    assert seen.steps == 4
    assert given == [0, 16, 32, 48]
    iterator = batches()
    made.preflight(iterator)
    assert len(list(iterator)) == 4


def test_a_second_fit_goes_on_with_the_same_generator():
    def batches():
        while True:
            yield X[:16], Y[:16]

    made, seen, endless = distiller(), Seen(), batches()
    for _ in range(2):
        made.fit(endless, steps_per_epoch=3, verbose=0, callbacks=[seen])
    assert seen.steps == 6


def test_a_py_dataset_is_looked_at():
    with pytest.raises(PreflightError, match="0 to 9.*start at 1"):
        distiller().fit(Batches(X, Y + 1), verbose=0)
    seen = Seen()
    distiller().fit(Batches(X, Y), verbose=0, callbacks=[seen])
    assert seen.steps == 4


def test_arguments_of_fit_mean_what_they_mean_in_keras():
    made, seen = distiller(), Seen()
    history = made.fit(
        X,
        Y,
        16,
        epochs=4,
        initial_epoch=2,
        validation_split=0.25,
        class_weight={0: 2.0},
        callbacks=[seen],
        verbose=0,
    )
    assert history.epoch == [2, 3]
    assert seen.steps == 6
    assert "val_loss" in history.history
    with pytest.raises(TypeError, match="epoch"):
        made.fit(X, Y, epoch=3)


def test_no_epochs_train_nothing():
    with pytest.warns(PreflightWarning, match="Nothing will be trained"):
        history = distiller().fit(X, Y, epochs=0, verbose=0)
    assert history.history == {}


def test_models_run_on_no_more_than_a_step_would(monkeypatch):
    sizes = []
    made = distiller()
    call = made.teacher.call

    def counting(x, *args, **kwargs):
        sizes.append(len(x))
        return call(x, *args, **kwargs)

    monkeypatch.setitem(vars(made.teacher), "call", counting)
    made.preflight(X, Y, batch_size=8)
    assert sizes == [8, 8, 8]
    with pytest.raises(PreflightError, match="`batch_size` must be an integer"):
        made.preflight(X, Y, batch_size="8")


def test_very_large_arrays_are_thinned(monkeypatch):
    monkeypatch.setattr(
        "keras_diffkd.preflight.batches.WHOLE_ARRAY_BYTES", X.nbytes // 2
    )
    spoiled = X.copy()
    spoiled[1] = np.nan
    assert distiller().preflight(spoiled, Y, batch_size=1).errors == []
    spoiled[2] = np.nan
    with pytest.raises(PreflightError, match="finite"):
        distiller().preflight(spoiled, Y, batch_size=1)


def test_the_same_data_is_not_checked_twice(monkeypatch):
    made, data = distiller(), Batches(X, Y)
    made.fit(data, verbose=0)
    first = data.read.count(0)
    data.read.clear()
    made.fit(data, verbose=0)
    assert data.read.count(0) < first
    with pytest.raises(PreflightError, match="Labels must lie"):
        made.fit(Batches(X, Y + 1), verbose=0)


def test_what_is_new_in_a_second_fit_is_checked(monkeypatch):
    made, ran = distiller(), []
    original = outputs.run_models
    monkeypatch.setattr(
        outputs, "run_models", lambda *args: ran.append(1) or original(*args)
    )
    for _ in range(2):
        made.fit(X, Y, validation_data=(X, Y), verbose=0)
    assert len(ran) == 1
    with pytest.raises(PreflightError, match="Labels must lie"):
        made.fit(X, Y, validation_data=(X, Y + 1), verbose=0)
    with pytest.raises(PreflightError, match="sample weights .*64 and 63"):
        made.fit(X, Y, sample_weight=np.ones(63), verbose=0)
    made.optimizer.learning_rate = float("nan")
    with pytest.raises(PreflightError, match="learning rate"):
        made.fit(X, Y, validation_data=(X, Y), verbose=0)
    made.attach_teacher(teacher(scale=2.0))
    made.optimizer.learning_rate = 0.1
    made.fit(X, Y, validation_data=(X, Y), verbose=0)
    assert len(ran) > 1


def test_it_can_be_switched_off_and_that_is_saved(tmp_path):
    made = distiller(of_teacher=teacher(order=np.roll(np.arange(10), 1)))
    with pytest.warns(PreflightWarning, match="no better than chance"):
        made.fit(X, Y, verbose=0)
    made.compile("sgd", cross_entropy(), preflight=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PreflightWarning)
        made.fit(X, Y, verbose=0)
    assert made.get_compile_config()["preflight"] is False
    made.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    assert loaded.get_compile_config()["preflight"] is False


def state_of(model):
    """Everything of a model that a caller could notice to be another."""
    return (
        weights_of(model),
        [(layer.name, layer.trainable) for layer in model._flatten_layers()],
        [v.trainable for v in model.variables],
        model.compiled,
        getattr(model, "optimizer", None),
        sorted(vars(model)),
        [sorted(vars(layer)) for layer in model._flatten_layers()],
    )


def assert_same_state(before, after):
    for a, b in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(a, b)
    assert before[1:] == after[1:]


def test_fit_leaves_the_teacher_as_it_was():
    own = small_cnn(8)  # With batch normalization, one layer frozen and compiled.
    own.layers[1].trainable = False
    own.compile("adam", cross_entropy())
    x, y = random_batch(np.random.default_rng(0), 32)
    own.fit(x, y, verbose=0)
    before = state_of(own)
    made = Distiller(own, small_cnn(4), [LogitsKD(), FitNet("features", "features")])
    made.compile("sgd", cross_entropy())
    made.fit(x, y, epochs=2, verbose=0)
    assert_same_state(before, state_of(own))
    own.fit(x, y, verbose=0)  # And it can still be trained on.


class Counting(keras.layers.Layer):
    """Moves a variable whenever it is called, in inference too."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.modes = []

    def call(self, x, training=None):
        self.modes.append(training)
        self.calls.assign(self.calls + 1.0)
        return x


def test_models_run_in_inference_and_move_nothing():
    counting = [Counting(), Counting()]
    models = []
    for layer in counting:
        image = keras.Input((8, 8, 1))
        x = layer(keras.layers.Flatten()(image))
        models.append(keras.Model(image, keras.layers.Dense(10)(x)))
    made = Distiller(*models, [LogitsKD()])
    made.compile("sgd", cross_entropy())
    before = [float(layer.calls.value) for layer in counting]
    for layer in counting:
        layer.modes.clear()
    made.preflight(X, Y)
    for layer, calls in zip(counting, before, strict=True):
        assert layer.modes
        assert not any(layer.modes)
        assert float(layer.calls.value) == calls


def test_a_refused_fit_leaves_everything_as_it_was():
    of_teacher, of_student = teacher(), student()
    made = distiller(of_teacher=of_teacher, of_student=of_student)
    models = (of_teacher, of_student)
    before = [state_of(model) for model in models]
    draws = keras.random.normal((2,), seed=made.methods and 1)
    with pytest.raises(PreflightError):
        made.fit(X, Y + 1, verbose=0)
    made.preflight(X, Y)
    for model, state in zip(models, before, strict=True):
        assert_same_state(state, state_of(model))
    np.testing.assert_array_equal(draws, keras.random.normal((2,), seed=1))
    assert not made.optimizer.built or int(made.optimizer.iterations) == 0


def test_a_training_is_the_same_with_and_without():
    results = []
    for preflight in (True, False):
        made = distiller()
        made.compile(keras.optimizers.SGD(0.05), cross_entropy(), preflight=preflight)
        keras.utils.set_random_seed(1)
        logs = made.fit(X, Y, batch_size=16, verbose=0).history
        results.append((logs, weights_of(made.student)))
    assert results[0][0] == results[1][0]
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.backend("tensorflow")
def test_segmentation_and_its_ignored_label():
    image = keras.Input((8, 8, 1))
    logits = keras.layers.Conv2D(3, 1, name="logits")(image)
    student = keras.Model(image, logits)
    made = Distiller(student=student)
    y = np.random.default_rng(0).integers(0, 3, (16, 8, 8))
    y[0, 0, 0] = 255
    made.compile("sgd", cross_entropy())
    with pytest.raises(PreflightError, match="ignore_class=255"):
        made.preflight(np.ones((16, 8, 8, 1)) * y[..., None], y)
    made.compile(
        "sgd",
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
    )
    assert made.preflight(X[:16], y).errors == []
    with pytest.raises(PreflightError, match=r"must have the shape \(None, 8, 8\)"):
        made.preflight(X[:16], y[:, 0])


def test_several_outputs():
    image = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(image)
    outputs = {"a": keras.layers.Dense(3)(x), "b": keras.layers.Dense(1)(x)}
    made = Distiller(student=keras.Model(image, outputs))
    made.compile("sgd", {"a": cross_entropy(), "b": "mse"})
    y = {"a": Y % 3, "b": np.ones((64, 1))}
    assert made.preflight(X, y).errors == []
    with pytest.raises(PreflightError, match="0 to 2: the student has 3 classes"):
        made.preflight(X, {**y, "a": Y})
    with pytest.raises(PreflightError, match="no targets of the output 'a'"):
        made.preflight(X, {"b": y["b"]})
    with pytest.raises(PreflightError, match="labels of the output 'b' .*finite"):
        made.preflight(X, {**y, "b": np.full((64, 1), np.nan)})


def test_dictionaries_of_inputs():
    inputs = {"image": keras.Input((8, 8, 1)), "size": keras.Input((1,))}
    x = keras.layers.Flatten()(inputs["image"])
    x = keras.layers.Concatenate()([x, inputs["size"]])
    made = Distiller(student=keras.Model(inputs, keras.layers.Dense(10)(x)))
    made.compile("sgd", cross_entropy())
    both = {"image": X, "size": np.ones((64, 1))}
    assert made.preflight(both, Y).errors == []
    with pytest.raises(PreflightError, match=r"without \['size'\]"):
        made.preflight({"image": X}, Y)
    with pytest.raises(PreflightError, match="input 'size' .*finite. Received: NaN"):
        made.preflight({**both, "size": np.full((64, 1), np.nan)}, Y)


@pytest.mark.backend("tensorflow")
def test_data_of_a_strategy_is_left_alone():
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    strategy = tf.distribute.get_strategy()
    made = distiller()
    found = made.preflight(strategy.experimental_distribute_dataset(data))
    assert found.errors == []


@pytest.mark.backend("tensorflow")
def test_ragged_targets_are_left_to_the_loss():
    y = tf.ragged.constant([[1, 2], [3]] * 8)
    data = tf.data.Dataset.from_tensor_slices((X[:16], y)).batch(8)
    made = distiller()
    assert made.preflight(data).errors == []
