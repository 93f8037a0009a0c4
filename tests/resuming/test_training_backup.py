import json

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy

from keras_diffkd import Distiller, LogitsKD, TrainingDivergedError
from keras_diffkd.callbacks import TrainingBackup

EPOCHS, BATCHES = 4, 5


class Interrupt(keras.callbacks.Callback):
    """Ends a training as Ctrl-C does, after so many batches or at an epoch's end."""

    def __init__(self, batches=None, epoch=None):
        super().__init__()
        self.batches, self.epoch = batches, epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.batches is not None:
            self.batches -= 1
            if self.batches == 0:
                raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


class Calls(keras.callbacks.Callback):
    """What a callback is told."""

    def __init__(self):
        super().__init__()
        self.batches = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.batches += 1


def make_model(optimizer=None, **compile_arguments):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(3),
        ]
    )
    model.compile(
        optimizer or keras.optimizers.Adam(0.05),
        cross_entropy(),
        metrics=["accuracy"],
        **{"run_eagerly": keras.backend.backend() != "jax", **compile_arguments},
    )
    return model


def data(samples=BATCHES * 8):
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, 4)).astype("float32"), rng.integers(0, 3, samples)


def fit(backup, *callbacks, model=None, samples=BATCHES * 8, **arguments):
    x, y = data(samples)
    model = model or make_model()
    arguments = {"epochs": EPOCHS, "validation_data": data(16), **arguments}
    callbacks = [*([] if backup is None else [backup]), *callbacks]
    model.fit(
        x, y, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks, **arguments
    )
    return model


def changing():
    """Callbacks that change the training by what they remember."""
    return [
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        keras.callbacks.ReduceLROnPlateau(
            "val_loss", 0.5, patience=1, min_delta=0.5, cooldown=1
        ),
        keras.callbacks.EarlyStopping(
            "val_loss", patience=3, min_delta=0.01, restore_best_weights=True
        ),
    ]


def state_of(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def check_same(model, undisturbed):
    for ours, theirs in zip(state_of(model), state_of(undisturbed), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    ours, theirs = model.history.history, undisturbed.history.history
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        # JAX sums a validation loss up differently now and then.
        assert ours[name] == pytest.approx(values, rel=1e-6), name
    assert model.history.epoch == undisturbed.history.epoch


@pytest.fixture(scope="module")
def undisturbed():
    keras.utils.clear_session(free_memory=False)
    return fit(None, *changing())


@pytest.mark.parametrize("save_freq", [2, None])
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    tmp_path, undisturbed, save_freq
):
    for interrupt in (
        Interrupt(batches=1),
        Interrupt(batches=3),
        Interrupt(epoch=0),
        Interrupt(batches=8),
        Interrupt(epoch=2),
        Interrupt(batches=BATCHES),
    ):
        with pytest.raises(KeyboardInterrupt):
            fit(TrainingBackup(tmp_path, save_freq=save_freq), *changing(), interrupt)
    model = fit(TrainingBackup(tmp_path, save_freq=save_freq), *changing())
    check_same(model, undisturbed)


def test_a_finished_training_does_nothing_when_run_again(tmp_path, undisturbed):
    fit(TrainingBackup(tmp_path), *changing())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    calls = Calls()
    model = fit(TrainingBackup(tmp_path), *changing(), calls)
    assert calls.batches == 0
    check_same(model, undisturbed)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    # Nothing of it is left for the next `fit` of the same model.
    fit(None, calls, model=model, epochs=1)
    assert calls.batches == BATCHES


def test_what_happens_at_the_end_happens_once(tmp_path):
    class Halve(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            kernel = self.model.trainable_variables[0]
            kernel.assign(kernel.value / 2)

    for _ in range(2):
        model = fit(TrainingBackup(tmp_path), Halve(), epochs=1)
        check_same(model, fit(None, Halve(), epochs=1))


def test_a_row_of_skipped_steps_goes_on_in_the_next_epoch(tmp_path):
    """Otherwise every restart of a training that skips all steps gains some more."""

    def distiller():
        keras.utils.set_random_seed(0)
        student = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        distiller = Distiller(teacher=None, student=student, methods=[])
        distiller.compile(
            keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.01), initial_scale=2.0**127
            ),
            cross_entropy(),
            run_eagerly=keras.backend.backend() != "jax",
            loss_weights=1e9,  # Overflows at any scale that is tried.
            max_skipped_steps=7,
            preflight=False,
        )
        return distiller

    fit(TrainingBackup(tmp_path), model=distiller(), epochs=1)
    with pytest.raises(TrainingDivergedError, match="7 steps in a row") as caught:
        fit(TrainingBackup(tmp_path), model=distiller())
    assert (caught.value.epoch, caught.value.step) == (2, 2)


def test_more_epochs_go_on(tmp_path):
    fit(TrainingBackup(tmp_path), epochs=1)
    model = fit(TrainingBackup(tmp_path), epochs=3)
    check_same(model, fit(None, epochs=3))


def test_a_training_that_was_stopped_early_does_not_go_on(tmp_path):
    def stopping():
        # Never better than at the first epoch.
        return keras.callbacks.EarlyStopping(
            "val_loss", patience=1, min_delta=100, restore_best_weights=True
        )

    whole = fit(None, stopping())
    assert whole.history.epoch == [0, 1]
    for backup in (TrainingBackup(tmp_path / "a"), TrainingBackup(tmp_path / "a")):
        check_same(fit(backup, stopping()), whole)
    # Killed when it had been stopped, before its best weights were back.

    class KilledAtEnd(Interrupt):
        def on_train_end(self, logs=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(TrainingBackup(tmp_path / "b"), KilledAtEnd(), stopping())
    calls = Calls()
    check_same(fit(TrainingBackup(tmp_path / "b"), stopping(), calls), whole)
    assert calls.batches == 0


def test_other_callbacks_are_not_told_of_batches_that_are_left_out(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(TrainingBackup(tmp_path, save_freq=1), Interrupt(batches=4), epochs=1)
    calls = Calls()
    fit(TrainingBackup(tmp_path, save_freq=1), calls, epochs=1)
    assert calls.batches == BATCHES - 3


@pytest.mark.backend("tensorflow", "jax")  # Keras refuses it on PyTorch.
@pytest.mark.parametrize("batches", [2, 3])
def test_several_steps_per_execution(tmp_path, batches):
    def model():
        # Five batches in two's: the last execution has one.
        return make_model(steps_per_execution=2, run_eagerly=False)

    whole = fit(None, model=model(), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fit(
            TrainingBackup(tmp_path, save_freq=2),
            Interrupt(batches=batches),
            model=model(),
            epochs=2,
        )
    position = TrainingBackup(tmp_path).position()
    assert position == (0, 2 * (batches - 1), 2 * (batches - 1))
    again = fit(TrainingBackup(tmp_path, save_freq=2), model=model(), epochs=2)
    check_same(again, whole)


@pytest.mark.backend("torch")
@pytest.mark.parametrize("shuffle", [True, "batch"])
def test_the_order_of_shuffled_data_goes_on(tmp_path, shuffle):
    def train(*callbacks):
        model = make_model()
        x, y = data()
        arguments = {"batch_size": 8, "epochs": 3, "verbose": 0, "shuffle": shuffle}
        model.fit(x, y, callbacks=callbacks, **arguments)
        return model

    whole = train()
    for batches in (3, BATCHES + 1, 1):
        with pytest.raises(KeyboardInterrupt):
            train(TrainingBackup(tmp_path, save_freq=1), Interrupt(batches=batches))
    check_same(train(TrainingBackup(tmp_path, save_freq=1)), whole)


@pytest.mark.backend("torch")
def test_random_numbers_of_other_devices_are_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(TrainingBackup(tmp_path, save_freq=1), Interrupt(batches=3))
    snapshots = TrainingBackup(tmp_path).snapshots
    snapshot = snapshots.newest()
    arrays = {
        k: v for k, v in snapshot.arrays.items() if not k.startswith("generators")
    }
    snapshots.write(snapshot.state["step"], arrays, snapshot.state)
    with pytest.raises(ValueError, match="states of 0 generators, expected"):
        fit(TrainingBackup(tmp_path))


@pytest.mark.backend("tensorflow", "jax")
def test_data_may_begin_where_the_training_goes_on(tmp_path, undisturbed):
    def part(start):
        x, y = data()
        order = np.arange(start * 8, EPOCHS * len(x)) % len(x)
        for begin in range(0, len(order), 8):
            yield x[order[begin : begin + 8]], y[order[begin : begin + 8]]

    def go_on(*callbacks):
        backup = TrainingBackup(tmp_path, save_freq=1, skip_data=False)
        model = make_model()
        # Its metrics are built as those of a Distiller are.
        model._symbolic_build(data_batch=next(part(0)))
        model.fit(
            part(backup.position().step),
            steps_per_epoch=BATCHES,
            epochs=EPOCHS,
            validation_data=data(16),
            verbose=0,
            callbacks=[backup, *changing(), *callbacks],
        )
        return model

    for batches in (3, 4, 5):
        with pytest.raises(KeyboardInterrupt):
            go_on(Interrupt(batches=batches))
    check_same(go_on(), undisturbed)


def test_other_data_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(TrainingBackup(tmp_path, save_freq=1), Interrupt(batches=4))
    with pytest.raises(ValueError, match="steps per epoch was 5, now 2"):
        fit(TrainingBackup(tmp_path), samples=16)

    def endless():
        yield from [tuple(values[:8] for values in data())] * 2

    with pytest.raises(ValueError, match="ended 1 batches before the point"):
        make_model().fit(
            endless(),
            steps_per_epoch=BATCHES,
            verbose=0,
            callbacks=[TrainingBackup(tmp_path)],
        )


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"fingerprint": {"data": "b"}}, "fingerprint.data was a, now b"),
        ({"optimizer": "sgd"}, "optimizer variables"),
        (
            {"optimizer": keras.optimizers.Adam(0.01)},
            "training: learning rate was 0.05, now 0.01. ",
        ),
    ],
)
def test_another_training_is_refused_with_the_difference(tmp_path, now, said):
    fit(TrainingBackup(tmp_path, fingerprint={"data": "a"}), epochs=1)
    fingerprint = now.get("fingerprint", {"data": "a"})
    model = make_model(now.get("optimizer"))
    with pytest.raises(ValueError, match="snapshot of another .*" + said):
        fit(TrainingBackup(tmp_path, fingerprint=fingerprint), model=model)


def test_the_same_model_goes_on_with_the_rate_that_callbacks_gave_it(tmp_path):
    def halve():
        return keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)

    model = fit(TrainingBackup(tmp_path), halve(), epochs=2)
    with pytest.raises(KeyboardInterrupt):  # With a rate that no backup has.
        fit(TrainingBackup(tmp_path), halve(), Interrupt(3), model=model)
    fit(TrainingBackup(tmp_path), halve(), model=model, epochs=3)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05 / 8)
    # A script that is run again begins with the first.
    check_same(fit(TrainingBackup(tmp_path), halve()), fit(None, halve()))
    model.optimizer.learning_rate = 0.7
    with pytest.raises(ValueError, match="learning rate was 0.05, now 0.7"):
        fit(TrainingBackup(tmp_path), halve(), model=model)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("kernel", "smaller learning rate"),
        ("moving_variance", "smaller learning rate"),
        ("momentum", "smaller learning rate"),
        ("dynamic_scale", "raise `dynamic_growth_steps`"),
    ],
)
def test_what_is_not_finite_is_not_saved(tmp_path, name, advice):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                variables = [*self.model.variables, *self.model.optimizer.variables]
                spoilt = next(v for v in variables if name in v.path)
                value = np.array(keras.ops.convert_to_numpy(spoilt))
                value.flat[-1] = np.inf
                spoilt.assign(value)

    optimizer = None
    if name == "dynamic_scale":
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01))
    said = f"{name}.* is not finite after 10 steps.*{advice}"
    with pytest.raises(TrainingDivergedError, match=said) as caught:
        fit(TrainingBackup(tmp_path), Spoil(), model=make_model(optimizer))
    assert (caught.value.epoch, caught.value.step) == (2, BATCHES)
    assert name in caught.value.culprits[0]
    assert caught.value.batch is None
    assert TrainingBackup(tmp_path).position() == (1, 0, BATCHES)


def test_model_checkpoint_knows_the_best_so_far(tmp_path):
    def checkpoint():
        return keras.callbacks.ModelCheckpoint(
            tmp_path / "best.weights.h5",
            "loss",
            save_best_only=True,
            mode="max",
            save_weights_only=True,
        )

    fit(TrainingBackup(tmp_path / "b"), checkpoint(), epochs=1)
    best = (tmp_path / "best.weights.h5").stat().st_mtime_ns
    # The loss falls: a checkpoint that has forgotten its best would save.
    fit(TrainingBackup(tmp_path / "b"), checkpoint(), epochs=3)
    assert (tmp_path / "best.weights.h5").stat().st_mtime_ns == best


def test_random_numbers_without_a_seed_generator_go_on(tmp_path):
    """Keras's global generator is in no model."""

    @keras.saving.register_keras_serializable("tests")
    class Noise(keras.layers.Layer):
        def call(self, x):
            return x + keras.random.normal((3,), seed=None)

    if keras.backend.backend() == "jax":
        pytest.skip("JAX has no such numbers in a compiled step")

    def model():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), Noise()])
        model.compile("sgd", cross_entropy(), run_eagerly=True)
        return model

    whole = fit(None, model=model(), epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fit(
            TrainingBackup(tmp_path, save_freq=1), Interrupt(7), model=model(), epochs=2
        )
    check_same(fit(TrainingBackup(tmp_path), model=model(), epochs=2), whole)


def test_bfloat16_is_restored_exactly(tmp_path):
    def model():
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, dtype="bfloat16")]
        )
        sgd = keras.optimizers.SGD(0.1, 0.9)
        model.compile(sgd, cross_entropy(), run_eagerly=True)
        return model

    whole = fit(None, model=model(), epochs=2)
    fit(TrainingBackup(tmp_path), model=model(), epochs=1)
    check_same(fit(TrainingBackup(tmp_path), model=model(), epochs=2), whole)


def test_position_is_that_of_the_newest_backup(tmp_path):
    assert TrainingBackup(tmp_path).position() == (0, 0, 0)
    with pytest.raises(KeyboardInterrupt):
        fit(TrainingBackup(tmp_path, save_freq=2), Interrupt(batches=8))
    assert TrainingBackup(tmp_path).position() == (1, 2, 7)
    [_, newest] = sorted(tmp_path.iterdir())
    assert (
        json.loads((newest / "state.json").read_text())["content"]["state"][
            "fingerprint"
        ]["steps per epoch"]
        == BATCHES
    )


@pytest.mark.parametrize("save_freq", [0, -1, 1.5, "epoch", True])
def test_bad_save_freq(tmp_path, save_freq):
    said = f"`save_freq` must be an integer of at least 1. .*save_freq={save_freq!r}"
    with pytest.raises(ValueError, match=said):
        TrainingBackup(tmp_path, save_freq=save_freq)


def test_save_freq_of_numpy(tmp_path):
    assert type(TrainingBackup(tmp_path, save_freq=np.int64(3)).save_freq) is int


def test_a_file_is_named_before_training_begins(tmp_path):
    (tmp_path / "file").write_text("")
    calls = Calls()
    with pytest.raises(ValueError, match="need their own folder.*is a file"):
        fit(TrainingBackup(tmp_path / "file"), calls)
    assert calls.batches == 0


def test_outside_of_fit_and_unbuilt_models_are_named(tmp_path):
    with pytest.raises(ValueError, match="one of the callbacks of `fit`"):
        TrainingBackup(tmp_path).set_model(make_model())
    if keras.backend.backend() == "tensorflow":  # Others build it in `fit`.
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="must be built before"):
            fit(TrainingBackup(tmp_path), model=model)


class Weights(keras.callbacks.Callback):
    """Changes what the losses weigh, now and then."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.task_loss_weight = 0.25

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.model.methods[0].weight += 1.0


def test_what_losses_weigh_goes_on(tmp_path):
    def run(*callbacks, model=None):
        if model is None:
            keras.utils.set_random_seed(3)
            model = Distiller(make_model(), make_model(), [LogitsKD()])
            model.compile(keras.optimizers.Adam(0.05), cross_entropy(), preflight=False)
        x, y = data()
        model.fit(
            x,
            y,
            batch_size=8,
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )
        return model

    undisturbed = run(Weights())
    assert undisturbed.methods[0].weight == 4.0
    for interrupt in (Interrupt(batches=3), Interrupt(epoch=1), Interrupt(batches=4)):
        with pytest.raises(KeyboardInterrupt):
            run(TrainingBackup(tmp_path, save_freq=1), Weights(), interrupt)
    check_same(run(TrainingBackup(tmp_path, save_freq=1), Weights()), undisturbed)
    # The same model goes on as well, with the weights that it has by then.
    stopped = []

    class Keep(Interrupt):
        def on_train_begin(self, logs=None):
            stopped.append(self.model)

    other = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        run(TrainingBackup(other, save_freq=1), Weights(), Keep(batches=8))
    model = stopped[0]
    assert model.task_loss_weight == 0.25
    run(TrainingBackup(other, save_freq=1), Weights(), model=model)
    assert model.methods[0].weight == 4.0
    model.task_loss_weight = 0.7
    with pytest.raises(ValueError, match="hash of its configuration"):
        run(TrainingBackup(other, save_freq=1), Weights(), model=model)
