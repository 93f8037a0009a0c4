import keras
import numpy as np
import pytest
from helpers.threads import OtherThread

from keras_diffkd.keras_private.trainer import (
    REDUCTION,
    build_metrics,
    check_compiled,
    compile_loss_of,
    compile_metrics_of,
    keep_variables,
    learning_rate,
    loss_tracker_of,
    model_of,
    optimizer_step,
    set_initial_epoch,
    without_reduction,
)

X, Y = np.ones((4, 3), "float32"), np.ones((4, 2), "float32")


def model(**arguments):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    if arguments:
        network.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
    return network


def test_a_model_that_is_not_compiled():
    with pytest.raises(ValueError, match="call `compile"):
        check_compiled(model(), "fit")
    check_compiled(model(loss="mse"), "fit")


def test_the_compiled_loss():
    assert compile_loss_of(model()) is None
    assert compile_loss_of(model(loss=None)) is None
    value = compile_loss_of(model(loss="mae"))(
        keras.ops.convert_to_tensor(Y), keras.ops.convert_to_tensor(3 * Y)
    )
    assert float(value) == pytest.approx(2.0)


def test_the_compiled_metrics():
    assert compile_metrics_of(model(loss="mse")) is None
    metrics = compile_metrics_of(model(metrics=["mae"]))
    metrics.update_state(Y, 3 * Y)
    (value,) = metrics.result().values()
    assert float(value) == pytest.approx(2.0)


def test_the_metric_of_the_loss():
    network = model(loss="mse")
    logs = network.evaluate(X, Y, return_dict=True, verbose=0)
    assert float(loss_tracker_of(network).result()) == pytest.approx(logs["loss"])


def test_metrics_are_built_from_a_batch():
    built, trained = (model(metrics=["mae", keras.metrics.F1Score()]) for _ in "ab")
    before = len(built.metrics_variables)
    build_metrics(built, (X, Y))
    trained.fit(X, Y, verbose=0)
    assert before < len(built.metrics_variables) == len(trained.metrics_variables)


def test_the_epoch_at_which_fit_begins():
    network = model(loss="mse")
    set_initial_epoch(network, 2)
    assert network.fit(X, Y, epochs=3, verbose=0).epoch == [2]
    set_initial_epoch(network, None)
    assert network.fit(X, Y, epochs=2, verbose=0).epoch == [0, 1]


def test_the_model_of_a_callback():
    callback, network = keras.callbacks.Callback(), model()
    assert model_of(callback) is None
    callback.set_model(network)
    assert model_of(callback) is network


@pytest.mark.backend("jax")
def test_variables_with_the_values_of_training():
    network = model(loss="mse")

    class Ends(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for variable in network.variables:
                variable.assign(keras.ops.full(variable.shape, 7, variable.dtype))
            keep_variables(network)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        network.fit(X, Y, callbacks=[Ends()], verbose=0)
    for value in network.get_weights():
        np.testing.assert_array_equal(value, np.full_like(value, 7))


def test_schedules_follow_batches():
    network = model(optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2))
    network.fit(X, Y, batch_size=1, verbose=0)
    assert int(optimizer_step(network.optimizer)) == 4
    assert int(network.optimizer.iterations) == 2


def test_the_learning_rate_or_its_schedule():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 10)
    assert learning_rate(keras.optimizers.SGD(schedule)) is schedule
    assert float(learning_rate(keras.optimizers.SGD(0.25))) == 0.25


@pytest.mark.backend("tensorflow")
def test_an_optimizer_sums_the_gradients_of_replicas_by_one_method():
    summed = []

    class Spy(keras.optimizers.SGD):
        def _all_reduce_sum_gradients(self, pairs):
            summed.append([float(gradient) for gradient, _ in pairs])
            return super()._all_reduce_sum_gradients(pairs)

    assert callable(getattr(keras.optimizers.SGD, REDUCTION))
    variable = keras.Variable(1.0)
    optimizer = Spy(1.0)
    optimizer.apply([keras.ops.full((), 0.25)], [variable])
    assert summed == [[0.25]]
    with without_reduction(optimizer):
        optimizer.apply([keras.ops.full((), 0.25)], [variable])
    assert summed == [[0.25]]
    assert float(variable.value) == 0.5


def test_two_threads_replace_the_reduction_of_an_optimizer():
    optimizer = keras.optimizers.SGD()
    pairs = [(1.0, "a"), (2.0, "b")]
    with OtherThread(without_reduction(optimizer)) as other:
        with without_reduction(optimizer):
            other.leave()
            assert getattr(optimizer, REDUCTION)(pairs) == pairs
        assert REDUCTION not in vars(optimizer)
