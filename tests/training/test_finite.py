"""Sparse and ragged inputs train as in plain Keras, with the same guard."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from helpers.small_models import cross_entropy

from keras_diffkd import Distiller, LogitsKD, TrainingDivergedError

RNG = np.random.default_rng(0)
DENSE = RNG.normal(size=(32, 6)).astype("float32")
DENSE[DENSE < 0] = 0
Y = RNG.integers(0, 3, 32)
LENGTHS = RNG.integers(1, 7, 32)
ROWS = tf.RaggedTensor.from_tensor(DENSE, lengths=LENGTHS)


def of_sparse():
    vector = keras.Input((6,), sparse=True)
    return keras.Model(vector, keras.layers.Dense(3)(vector))


def of_ragged():
    row = keras.Input((None,), ragged=True)
    mean = keras.layers.Lambda(
        lambda x: tf.reduce_mean(x, axis=1, keepdims=True), output_shape=(1,)
    )
    return keras.Model(row, keras.layers.Dense(3)(mean(row)))


def of_both():
    dense, sparse = keras.Input((6,)), keras.Input((6,), sparse=True)
    x = keras.layers.Dense(3)(dense) + keras.layers.Dense(3)(sparse)
    return keras.Model([dense, sparse], x)


def batches(x):
    return (tf.data.Dataset.from_tensor_slices((x, Y)).batch(16),)


CASES = [
    (of_sparse, (scipy.sparse.csr_matrix(DENSE), Y)),
    (of_sparse, batches(tf.sparse.from_dense(DENSE))),
    (of_both, ([DENSE, tf.sparse.from_dense(DENSE)], Y)),
    (of_ragged, (ROWS, Y)),
]


@pytest.mark.backend("tensorflow", "jax")
@pytest.mark.parametrize(
    ("network", "data"), CASES, ids=["scipy", "batches", "dense and sparse", "ragged"]
)
def test_inputs_that_are_not_dense(network, data):
    if network is of_ragged and keras.backend.backend() != "tensorflow":
        pytest.skip("Keras has ragged tensors on TensorFlow alone")
    student, plain = network(), network()
    plain.set_weights(student.get_weights())
    plain.compile(keras.optimizers.SGD(0.1), cross_entropy(), jit_compile=False)
    how = {"batch_size": None if len(data) == 1 else 16, "shuffle": False, "verbose": 0}
    expected = plain.fit(*data, **how).history["loss"]
    made = Distiller(network(), student, [LogitsKD(weight=1e-9)])
    made.compile(keras.optimizers.SGD(0.1), cross_entropy(), jit_compile=False)
    assert made.preflight(*data).errors == []
    logs = made.fit(*data, **how).history
    np.testing.assert_allclose(logs["task_loss"], expected, rtol=1e-5)
    for ours, theirs in zip(student.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.backend("tensorflow", "jax")
def test_nan_in_sparse_inputs_stops_the_training():
    made = Distiller(student=of_sparse())
    made.compile("sgd", cross_entropy(), jit_compile=False)
    wrong = np.where(DENSE.max() == DENSE, np.nan, DENSE)
    with pytest.raises(TrainingDivergedError, match="not finite: the inputs"):
        made.fit(scipy.sparse.csr_matrix(wrong), Y, batch_size=32, verbose=0)
