"""The training step on TensorFlow."""

import contextlib

import keras
import tensorflow as tf

from keras_diffkd.training import checkpointing, logs, task_loss
from keras_diffkd.training.finite import finiteness, has_overflowed, keep_if_skipped
from keras_diffkd.training.masks import masked, with_masks
from keras_diffkd.training.state import state_variables, teacher_variables
from keras_diffkd.training.step import Batch, StepValues, step
from keras_diffkd.training.tensorflow import remat as tensorflow_remat
from keras_diffkd.training.tensorflow.fused_batch_norm import fused
from keras_diffkd.training.tensorflow.guard import guard, raising_diverged
from keras_diffkd.training.tensorflow.metric_variables import create_metric_variables
from keras_diffkd.training.tensorflow.reduced_gradients import (
    apply_reduced,
    check_optimizer,
)
from keras_diffkd.training.tensorflow.replicas import (
    Replicas,
    check_scope,
    seed_generator_of_all,
    sharing,
    unscaled,
)
from keras_diffkd.training.untrained import trained_pairs
from keras_diffkd.validation.labels import labels_message

without_gradients = contextlib.nullcontext
checkpointing.install(tensorflow_remat.checkpointed)


def keras_jit_compile(jit_compile):
    """Returns `False`: XLA around the whole step breaks under distribution.

    Only the pure part of the step is compiled, by `make_gradient_function`.
    """
    return False


def make_gradient_function(distiller, jit_compile):
    """Returns the pure function of a step, under XLA or not.

    It maps `(share, StepValues, Batch)` to `(gradients, finiteness, StepResults)`
    without features; see `finite`. Variables, optimizer and metrics stay outside:
    inside one XLA cluster they would tie the step to one device.
    """
    if _must_synchronize(distiller, jit_compile):
        jit_compile = False
    if jit_compile == "auto":
        jit_compile = _can_compile(distiller) and bool(
            tf.config.list_logical_devices("GPU")
        )

    def gradients_of(share, values, batch):
        trainable = values.trainable
        with sharing(share), tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trainable)
            with fused(*(() if jit_compile else _networks(distiller))):
                loss, results = step(distiller, values, batch)
        gradients = tape.gradient(loss, trainable)
        # Embeddings give sparse slices, which XLA cannot return.
        gradients = [None if g is None else tf.convert_to_tensor(g) for g in gradients]
        finite = finiteness(distiller, batch.x, gradients, results)
        return gradients, finite, results._replace(features=None)

    if not jit_compile:
        return gradients_of
    # As in Keras's own step: AutoGraph would rewrite all code that a step calls, which
    # takes seconds, and let models train that neither predict nor are exported.
    compiled = tf.function(gradients_of, jit_compile=True, autograph=False)

    def compiled_gradients_of(share, values, batch):
        # Tracing finds further variables that the step assigns, which compiled code
        # must not do itself.
        compiled.get_concrete_function(share, values, batch)
        found = state_variables(distiller)[len(values.state) :]
        state = [*values.state, *_values(found)]
        return compiled(share, values._replace(state=state), batch)

    return compiled_gradients_of


def _can_compile(distiller):
    """Whether all layers can, as Keras has it: those that read strings cannot."""
    return all(
        layer.supports_jit
        for network in _networks(distiller)
        for layer in network._flatten_layers()
    )


def _must_synchronize(distiller, jit_compile):
    """Whether layers talk to other replicas, which XLA's clusters cannot.

    Raises:
        ValueError: If they do and XLA was asked for.
    """
    if distiller.distribute_strategy.num_replicas_in_sync == 1:
        return False
    layers = [
        layer.path
        for network in _networks(distiller)
        for layer in network._flatten_layers()
        if getattr(layer, "synchronized", False)
    ]
    if layers and jit_compile is True:
        raise ValueError(
            "jit_compile=True cannot be combined with batch normalisation that is "
            "synchronized over replicas: compiled code cannot wait for other replicas. "
            f"Received: {layers[0]!r} with synchronized=True. Pass "
            'jit_compile="auto" or False.'
        )
    return bool(layers)


def gradient(function, x):
    """Returns the gradient of the scalar `function(x)` with respect to `x`."""
    # Cut off on both sides, so that the tape of the step asks for no second order.
    x = tf.stop_gradient(x)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)
    return tf.stop_gradient(tape.gradient(value, x))


def _networks(distiller):
    """Returns everything that runs in a step."""
    teacher = [distiller.teacher] if distiller.methods else []
    return *teacher, distiller.student, *distiller.methods


def make_train_function(distiller, make, force):
    """Makes what runs a batch: Keras's own, and an error of ours if it diverges."""
    if distiller.train_function is not None and not force:
        return
    check_optimizer(distiller.optimizer, distiller.distribute_strategy)
    distiller.record.seed_generator = seed_generator_of_all(distiller)
    make(force=force)
    distiller.train_function = raising_diverged(distiller, distiller.train_function)


def build_compiled(distiller, x, y):
    """Creates the variables of optimizer, loss and metrics before tracing.

    A `tf.function` that creates variables is traced twice, and tracing is most
    of the first step. The targets' structure is read off the data set or the
    array; data of other kinds is left to be built on the first batch.
    """
    check_scope(distiller)
    if isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)):
        _, y, _ = keras.utils.unpack_x_y_sample_weight(_element_spec(x))
    leaves = [leaf for leaf in tf.nest.flatten(y) if leaf is not None]
    strategy = distiller.distribute_strategy
    with strategy.scope():
        # One with loss scaling would begin anew, with further variables.
        if not distiller.optimizer.built:
            distiller.optimizer.build(distiller.trainable_variables)
        if leaves and all(hasattr(leaf, "dtype") for leaf in leaves):
            metrics = distiller._compile_metrics
            unbuilt = metrics is not None and not metrics.built
            _build_loss_and_metrics(distiller, _symbolic(y))
            if unbuilt and strategy.num_replicas_in_sync > 1:
                create_metric_variables(metrics, _symbolic(y), distiller.output_spec)


def _element_spec(dataset):
    """Returns the structure of a batch, of one replica if it is distributed."""
    return tf.nest.map_structure(
        lambda spec: getattr(spec, "_value_specs", [spec])[0], dataset.element_spec
    )


def symbolic_build(distiller, build, iterator=None, data_batch=None):
    """Builds what is not built yet, before a function is traced under a strategy.

    Args:
        distiller: The `Distiller`.
        build: What Keras does. It averages the batches of all replicas, which
            fails where they are on several machines or have unlike numbers of samples.
        iterator: Keras's iterator over the epoch's data.
        data_batch: A batch, where there is no iterator.
    """
    if iterator is None or distiller.distribute_strategy.num_replicas_in_sync == 1:
        build(iterator=iterator, data_batch=data_batch)
        return
    _, y, _ = keras.utils.unpack_x_y_sample_weight(
        _element_spec(iterator.data_adapter.get_tf_dataset())
    )
    with distiller.distribute_strategy.scope():
        _build_loss_and_metrics(distiller, _symbolic(y))


def _symbolic(structure):
    return tf.nest.map_structure(
        lambda leaf: keras.KerasTensor(
            leaf.shape, keras.backend.standardize_dtype(leaf.dtype)
        ),
        structure,
    )


def _build_loss_and_metrics(distiller, y):
    metrics = distiller._compile_metrics
    if y is not None and metrics is not None and not metrics.built:
        metrics.build(y, distiller.output_spec)
    task_loss.build(distiller, y)


def train_step(distiller, data):
    """Runs one step of training and returns the logs."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    y = _checked_labels(y, task_loss.num_label_classes(distiller))
    _build_loss_and_metrics(distiller, y)
    record, optimizer = distiller.record, distiller.optimizer
    batch = Batch(x, y, sample_weight)
    replicas = Replicas(batch_size=tf.shape(tf.nest.flatten(x)[0])[0])
    replicas.use_seed_generator(record.seed_generator)
    values = StepValues(
        trainable=_values(distiller.trainable_variables),
        state=_values(state_variables(distiller)),
        teacher=_values(teacher_variables(distiller)),
        loss_weights=record.loss_weights.next(optimizer),
        seed=replicas.id,
        loss_scale=optimizer.scale_loss(replicas.share),
    )
    gradients, finite, results = record.gradients(
        replicas.share, values, replicas.fill(batch)
    )
    state = state_variables(distiller)  # The step may have found more of them.
    gradients = [replicas.zero_if_idle(gradient) for gradient in gradients]
    skipped, new_state = tf.constant(False), results.state
    if record.count.can_skip:
        skipped = replicas.any(has_overflowed(distiller, finite))
        new_state = keep_if_skipped(skipped, _values(state), new_state)
    record.count.update_state(skipped, replicas.is_first)
    healthy = guard(distiller, replicas, finite, batch)
    # Eagerly, the guard has raised or passed already and is not an operation.
    with tf.control_dependencies([healthy] if tf.inside_function() else []):
        # As in plain Keras: the optimizer moves what the forward pass has assigned.
        _assign(state, replicas.average(new_state))
        apply_reduced(optimizer, *trained_pairs(distiller, gradients))
        losses = {
            name: replicas.zero_if_idle(value) for name, value in results.losses.items()
        }
        y_pred = masked(*replicas.trim(results.y_pred))
        of_batch = logs.update_metrics(
            distiller, losses, batch, y_pred, replicas.batch_size
        )
        return replicas.logs(distiller, of_batch)


def test_step(distiller, keras_test_step, data):
    """Evaluates the student; other than Keras's, right for idle replicas too."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    _build_loss_and_metrics(distiller, y)
    replicas = Replicas(batch_size=tf.shape(tf.nest.flatten(x)[0])[0])
    filled_x, filled_y, filled_weight = replicas.fill((x, y, sample_weight))
    y_pred = distiller(filled_x, training=False)
    with sharing(replicas.share):
        loss = unscaled(
            distiller.compute_loss(
                x=filled_x,
                y=filled_y,
                y_pred=y_pred,
                sample_weight=filled_weight,
                training=False,
            )
        )
    means = task_loss.loss_means(distiller)
    _assign(means, replicas.average(_values(means)))
    distiller._loss_tracker.update_state(
        replicas.zero_if_idle(loss), sample_weight=replicas.batch_size
    )
    y_pred = masked(*replicas.trim(with_masks(y_pred)))
    of_batch = distiller.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    return replicas.logs(distiller, logs.of_validation(distiller, of_batch))


def predict_step(distiller, keras_predict_step, data):
    """Runs the student, on replicas without samples too."""
    x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    replicas = Replicas(batch_size=tf.shape(tf.nest.flatten(x)[0])[0])
    return replicas.trim(distiller(replicas.fill(x), training=False))


def read_generators():
    """Returns nothing: Keras keeps the state of every generator in a variable."""
    return []


def assign_generators(states):
    """Does nothing: see `read_generators`."""


@contextlib.contextmanager
def data_errors_as_value_errors():
    """Turns our assertions on the data into `ValueError`s."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if "Labels must lie in" not in error.message:
            raise
        # The runtime wraps the message in the name of the failing graph node.
        message = error.message[error.message.index("Labels must lie in") :]
        raise ValueError(message.split("\n")[0]) from None


def _values(variables):
    return [tf.convert_to_tensor(variable.value) for variable in variables]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _checked_labels(y, classes):
    """Fails on labels that the loss would turn into NaN without a word.

    Returns `y`, which waits for the check: otherwise another operation may stumble
    over the label first, with a message of its own.
    """
    if classes is None or not tf.is_tensor(y):
        return y
    labels = tf.cast(y, tf.int64)
    with tf.device("CPU"):
        check = tf.debugging.Assert(
            tf.reduce_all((labels >= 0) & (labels < classes)),
            [labels_message(classes, "outside that range")],
        )
    # Eagerly, the check has raised or passed already and is no operation.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.identity(y)
