"""Creates the variables of optimizer, loss and metrics on TensorFlow."""

import keras
import tensorflow as tf

from keras_diffkd.keras_private.trainer import compile_metrics_of
from keras_diffkd.training import task_loss
from keras_diffkd.training.tensorflow.metric_variables import create_metric_variables
from keras_diffkd.training.tensorflow.replicas import check_scope


def build_compiled(distiller, x, y):
    """Creates the variables of optimizer, loss and metrics before tracing.

    A `tf.function` that creates variables is traced twice, and tracing takes most of
    the first step. The structure of the targets comes from the data set or the array.
    For other kinds of data, the first batch creates the variables.
    """
    check_scope(distiller)
    if isinstance(x, (tf.data.Dataset, tf.distribute.DistributedDataset)):
        _, y, _ = keras.utils.unpack_x_y_sample_weight(_element_spec(x))
    leaves = [leaf for leaf in tf.nest.flatten(y) if leaf is not None]
    strategy = distiller.distribute_strategy
    with strategy.scope():
        # Building an optimizer with loss scaling twice would create more variables.
        if not distiller.optimizer.built:
            distiller.optimizer.build(distiller.trainable_variables)
        if leaves and all(hasattr(leaf, "dtype") for leaf in leaves):
            metrics = compile_metrics_of(distiller)
            unbuilt = metrics is not None and not metrics.built
            build_loss_and_metrics(distiller, _symbolic(y))
            if unbuilt and strategy.num_replicas_in_sync > 1:
                create_metric_variables(metrics, _symbolic(y), distiller.output_spec)


def _element_spec(dataset):
    """Returns the structure of a batch, or of one replica's batch if distributed."""
    return tf.nest.map_structure(
        lambda spec: getattr(spec, "_value_specs", [spec])[0], dataset.element_spec
    )


def symbolic_build(distiller, build, iterator=None, data_batch=None):
    """Builds loss and metrics before a function is traced under a strategy.

    Args:
        distiller: The `Distiller`.
        build: Keras's function for this. It averages the batches of all replicas, which
            fails if they are on several machines or differ in their number of samples.
        iterator: Keras's iterator over the epoch's data.
        data_batch: A batch, if there is no iterator.
    """
    if iterator is None or distiller.distribute_strategy.num_replicas_in_sync == 1:
        build(iterator=iterator, data_batch=data_batch)
        return
    _, y, _ = keras.utils.unpack_x_y_sample_weight(
        _element_spec(iterator.data_adapter.get_tf_dataset())
    )
    with distiller.distribute_strategy.scope():
        build_loss_and_metrics(distiller, _symbolic(y))


def _symbolic(structure):
    return tf.nest.map_structure(
        lambda leaf: keras.KerasTensor(
            leaf.shape, keras.backend.standardize_dtype(leaf.dtype)
        ),
        structure,
    )


def build_loss_and_metrics(distiller, y):
    """Creates the missing variables of loss and metrics from a batch of targets."""
    metrics = compile_metrics_of(distiller)
    if y is not None and metrics is not None and not metrics.built:
        metrics.build(y, distiller.output_spec)
    task_loss.build(distiller, y)
