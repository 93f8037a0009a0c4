"""The training step on each backend: the only folder that knows the backend."""

import importlib

import keras

from keras_diffkd.train_steps import objective

BACKENDS = ("tensorflow", "jax", "torch")

_step = None
if keras.backend.backend() in BACKENDS:
    _step = importlib.import_module(
        f"keras_diffkd.train_steps.{keras.backend.backend()}"
    )


def _backend():
    if _step is None:
        raise ValueError(
            f"keras_diffkd trains on the Keras backends {BACKENDS}. Received: "
            f"{keras.backend.backend()!r}. Set KERAS_BACKEND before Keras is imported."
        )
    return _step


def keras_jit_compile(jit_compile):
    """Returns the `jit_compile` for what Keras compiles, which is not the step."""
    return _backend().keras_jit_compile(jit_compile)


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step: gradients, new state, losses, outputs."""
    return _backend().make_gradient_function(distiller, jit_compile)


def make_train_function(distiller, make, force):
    """Makes what runs a batch, by Keras's own `make`."""
    _backend().make_train_function(distiller, make, force)


def build_compiled(distiller, x, y):
    """Creates what optimizer, loss and metrics need, from the data's structure."""
    _backend().build_compiled(distiller, x, y)


def train_step(distiller, *args, **kwargs):
    """Runs one step of training and returns what Keras's trainer wants of it."""
    return _backend().train_step(distiller, *args, **kwargs)


def unscaled(loss):
    """Returns the mean loss of this replica's samples, whatever Keras scaled."""
    return _backend().unscaled(loss)


def task_loss(compute_loss, own):
    """Runs what computes the task loss: it is `unscaled` after that.

    Args:
        compute_loss: Callable without arguments.
        own: Whether it is a student's own, not one of Keras's losses.
    """
    return _backend().task_loss(compute_loss, own)


def build_task_loss(distiller, y):
    """Creates the variables of the task's loss, ours or the student's own."""
    objective.build_task_loss(distiller, y)


def only_read(teacher, student):
    """Returns a teacher's variables, without those of a frozen part that both have."""
    return objective.only_read(teacher, student)


def parts_of_task_loss(distiller):
    """Returns the means that a task loss of several outputs keeps of its parts."""
    return objective.parts_of_task_loss(distiller)


def layers_metrics(distiller):
    """Returns the variables of the metrics that layers update while they run."""
    return objective.layers_metrics(distiller)


def test_step(distiller, keras_test_step, *args):
    """Runs one step of evaluation and returns what Keras's trainer wants of it."""
    return _backend().test_step(distiller, keras_test_step, *args)


def predict_step(distiller, keras_predict_step, *args):
    """Returns the student's outputs as Keras's trainer wants them."""
    return _backend().predict_step(distiller, keras_predict_step, *args)


def symbolic_build(distiller, build, **kwargs):
    """Builds what is not built yet, for Keras's TensorFlow trainer."""
    _backend().symbolic_build(distiller, build, **kwargs)


def data_errors_as_value_errors():
    """Returns a context in which errors found in the data are `ValueError`s."""
    return _backend().data_errors_as_value_errors()


def read(model, variables):
    """Returns the values of variables that are the same on every replica.

    Args:
        model: Any `keras.Model`.
        variables: List of variables.

    Returns:
        List of NumPy arrays.
    """
    return _backend().read(model, variables)


def replica_reader(model, variables):
    """Returns a function that reads what every replica has in variables of its own.

    Args:
        model: Any `keras.Model`.
        variables: List of variables. All workers must call the function together.

    Returns:
        Function without arguments that returns a list of NumPy arrays, one for each
        variable, with the replicas along a first axis.
    """
    return _backend().replica_reader(model, variables)


def assign_replicas(model, variables, values, summed):
    """Gives every replica what `replica_reader` has read.

    Args:
        model: Any `keras.Model`.
        variables: List of variables.
        values: List of NumPy arrays with the replicas along a first axis.
        summed: Whether values of replicas add up, as those of metrics do. If their
            number has changed, the first replica gets the sum, or all get the first.
    """
    _backend().assign_replicas(model, variables, values, summed)


def numbers_of_workers(model, number):
    """Returns a list of what all workers of a training have passed.

    Args:
        model: Any `keras.Model`.
        number: Integer. All workers must call this together.
    """
    return _backend().numbers_of_workers(model, number)


def read_generators():
    """Returns the states of the random generators that Keras keeps no variable of.

    On PyTorch, `Dropout` and the shuffling of data draw from the global ones.

    Returns:
        List of NumPy arrays.
    """
    return _backend().read_generators()


def assign_generators(states):
    """Sets what `read_generators` has returned.

    Args:
        states: List of NumPy arrays.

    Raises:
        ValueError: If they are of another number of devices than there are.
    """
    _backend().assign_generators(states)


def is_chief(model):
    """Whether this process writes what all workers of a training have in common."""
    return _backend().is_chief(model)


def without_gradients():
    """Returns a context in which models run outside a step, for their outputs alone."""
    return _backend().without_gradients()


def gradient(function, x):
    """Returns the gradient of a scalar function with respect to a tensor.

    Works wherever methods compute: in the compiled step and outside. No
    gradient flows through the result, to `x` or to anything else.

    Args:
        function: Callable on a tensor like `x` that returns a scalar. It must
            not change variables: layers run with `training=False` in it.
        x: Float tensor.
    """
    return _backend().gradient(function, x)
