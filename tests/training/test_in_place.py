"""Variables that layers assign inside control flow, against Keras's own training."""

import keras
import numpy as np
import pytest

from keras_diffkd import Distiller, FitNet
from keras_diffkd.training.tensorflow.graphs import current_graph, is_inside

pytestmark = pytest.mark.backend("tensorflow")
tf = pytest.importorskip("tensorflow")

GRAPH, XLA = {"jit_compile": False}, {"jit_compile": True}


class Cell(keras.layers.Layer):
    """A recurrent cell with dropout that counts its calls."""

    state_size = 8

    def build(self, shape):
        self.dense, self.dropout = keras.layers.Dense(8), keras.layers.Dropout(0.3)
        self.dense.build((None, shape[-1] + 8))
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, states, training=False):
        if training:
            self.calls.assign_add(1.0)
        x = self.dense(keras.ops.concatenate([x, states[0]], axis=-1))
        x = self.dropout(x, training=training)
        return x, [x]


class Recurrent(keras.layers.Layer):
    """Runs the cell along the axis, with gradient checkpointing or without."""

    def __init__(self, remat=False):
        super().__init__(name="features")
        self.rnn, self.remat = keras.layers.RNN(Cell()), remat

    def build(self, shape):
        self.rnn.build((*shape, 1))

    def call(self, x, training=False):
        def run(x):
            return self.rnn(x[..., None], training=training)

        return (keras.remat(run) if self.remat else run)(x)


class Maybe(keras.layers.Layer):
    """Draws from the global generator in one branch of a condition."""

    def call(self, x, training=False):
        def noisy():
            return x + 0.1 * keras.random.normal(keras.ops.shape(x))

        return keras.ops.cond(keras.ops.mean(x) > 0, noisy, lambda: x * 2)


class Shrinking(keras.layers.Layer):
    """Assigns a counter and its own trained weight, before, in and after a loop."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x, training=False):
        def body(i, x):
            self.calls.assign_add(1.0)
            self.scale.assign(self.scale * 0.9)
            return x * self.scale

        if not training:
            return x
        self.calls.assign_add(1.0)
        x = keras.ops.fori_loop(0, 3, body, x)
        self.calls.assign(self.calls * 2.0)
        return x + 0.001 * self.calls


def network(layer):
    x = image = keras.Input((6,))
    return keras.Model(image, keras.layers.Dense(3)(layer(x)))


def train(model, mode):
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **mode,
    )
    x = np.random.default_rng(0).normal(size=(32, 6)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    keras.utils.set_random_seed(1)
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)


def values_of(model):
    return [keras.ops.convert_to_numpy(v.value) for v in model.variables]


@pytest.mark.parametrize(
    ("make", "mode", "remat"),
    [
        (Recurrent, GRAPH, {}),
        (Recurrent, GRAPH, {"remat": True}),
        (Maybe, XLA, {}),
        (Shrinking, GRAPH, {}),
        (Shrinking, {"run_eagerly": True}, {}),
    ],
    ids=["rnn", "remat", "cond-xla", "loop", "loop-eagerly"],
)
def test_a_student_trains_as_in_keras(make, mode, remat):
    results = []
    # The second run of a checkpointed function goes wrong in Keras itself.
    for ours, arguments in ((False, {}), (True, remat)):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        model = network(make(**arguments))
        train(Distiller(None, model, []) if ours else model, mode)
        results.append(values_of(model))
    for plain, value in zip(*results, strict=True):
        np.testing.assert_allclose(value, plain, rtol=1e-4, atol=1e-6)


def test_a_skipped_step_leaves_what_it_assigned():
    model = network(Shrinking())
    before = values_of(model)
    sgd = keras.optimizers.SGD(0.1)
    distiller = Distiller(None, model, [])
    distiller.compile(
        keras.optimizers.LossScaleOptimizer(sgd, initial_scale=3e38),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    distiller.train_on_batch(np.full((4, 6), 100, "float32"), np.arange(4) % 3)
    for old, new in zip(before, values_of(model), strict=True):
        np.testing.assert_array_equal(new, old)


class Counter(keras.layers.Layer):
    """Counts in a condition, in inference, too."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        def counted():
            self.calls.assign_add(1.0)
            return x + self.calls

        return keras.ops.cond(keras.ops.mean(x) > -100, counted, lambda: x)


def test_the_teacher_stays_as_it_is():
    teacher, student = (
        network(keras.Sequential([layer, keras.layers.Dense(4, name="features")]))
        for layer in (Counter(), keras.layers.ReLU())
    )
    methods = [FitNet(None, None)]
    before = values_of(teacher)
    train(Distiller(teacher, student, methods), {**GRAPH, "preflight": False})
    for old, new in zip(before, values_of(teacher), strict=True):
        np.testing.assert_array_equal(new, old)


def test_graphs_inside_a_graph():
    inside = []

    def branch(graph):
        inside.append(is_inside(graph))
        return 1.0

    @tf.function
    def run(x):
        graph = current_graph()
        with tf.init_scope():
            branch(graph)
        branch(graph)
        return tf.cond(x, lambda: branch(graph), lambda: branch(graph))

    run(tf.constant(True))
    assert inside == [False, False, True, True]
    assert not is_inside(current_graph())
