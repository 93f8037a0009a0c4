"""Finds and builds the task loss: the compiled one, or the student's own."""

import keras

from keras_diffkd.features.specs import input_spec
from keras_diffkd.keras_private.trainer import compile_loss_of
from keras_diffkd.training.task import loss_kind


def check_given(distiller, loss):
    """Raises `ValueError` if the task loss is missing although labels have weight."""
    student = distiller.student
    if loss is None and not student.compiled and distiller.learns_from_labels():
        raise ValueError(
            "The distiller has no task loss. Pass `loss` to `compile`, or compile the "
            f"student {student.name!r} with its own loss. To learn from the teacher "
            "alone, pass task_loss_weight=0 to `Distiller`."
        )


def check_labels_for_evaluation(distiller, data):
    """Raises `ValueError` if the compiled loss needs labels that a batch lacks."""
    _, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    if y is None and compile_loss_of(distiller) is not None:
        raise ValueError(
            "The loss needs labels to evaluate the student. Received: y=None. Pass "
            "`y`, or a data set of `(x, y)`."
        )


def counts(distiller, y):
    """Returns whether a batch has a task loss, which learning without labels lacks.

    Args:
        distiller: The `Distiller`.
        y: Batch of targets, or `None`.

    Raises:
        ValueError: If the compiled loss needs labels that the batch lacks.
    """
    if not distiller.learns_from_labels() and (y is None or not _exists(distiller)):
        distiller.record.loss_weights.labels_left_out = True
        return False
    if y is None and compile_loss_of(distiller) is not None:
        raise ValueError(
            "The task loss needs labels. Received: y=None. Pass `y`, or a data set "
            "of `(x, y)`. To learn from the teacher alone, pass task_loss_weight=0 to "
            "`Distiller`."
        )
    return True


def _exists(distiller):
    """Returns whether the distiller or the student has a task loss."""
    student = distiller.student
    return (
        compile_loss(distiller) is not None
        or student.compiled
        and overrides_loss(student)
    )


def overrides_loss(student):
    """Returns whether a student overrides `compute_loss`, as KerasHub detectors do."""
    return type(student).compute_loss is not keras.Model.compute_loss


def compile_loss(distiller):
    """Returns Keras's container of the losses of the distiller, or of the student."""
    if compile_loss_of(distiller) is not None:
        return compile_loss_of(distiller)
    return compile_loss_of(distiller.student)


def parts(distiller):
    """Returns the metrics in which a loss with several outputs keeps its means."""
    container = compile_loss(distiller)
    return container.metrics if container is not None else []


def loss_means(distiller):
    """Returns the variables of the metrics that `parts` returns."""
    return [variable for metric in parts(distiller) for variable in metric.variables]


def num_label_classes(distiller):
    """Returns the number of classes that integer labels may name, or `None`.

    It is known only for a loss on sparse labels and a student with one output.
    """
    loss = distiller.loss if compile_loss_of(distiller) is not None else None
    if loss_kind(loss) != "sparse":
        return None
    if getattr(loss, "ignore_class", None) is not None:
        return None  # The labels may hold one value that is not a class.
    return getattr(distiller.output_spec, "shape", (None,))[-1]


def build(distiller, y):
    """Creates the variables of the task loss, the distiller's or the student's.

    It runs the loss symbolically, because Keras's loss matches targets and outputs only
    when it is called, and only the student's own `compute_loss` knows its targets.

    Args:
        distiller: The `Distiller`.
        y: Batch of targets, or a structure with their shapes and dtypes.
    """
    container = compile_loss(distiller)
    if container is not None and not container.built:
        leaves = [leaf for leaf in keras.tree.flatten(y) if leaf is not None]
        batch = leaves[0].shape[0] if leaves else None

        def symbolic(leaf):
            if leaf is None:
                return None
            dtype = keras.backend.standardize_dtype(leaf.dtype)
            return keras.KerasTensor((batch, *leaf.shape[1:]), dtype)

        x, y_pred = input_spec(distiller.student), distiller.output_spec
        _TaskLoss(distiller).compute_output_spec(
            keras.tree.map_structure(symbolic, (x, y, y_pred))
        )


def build_own(distiller, iterator, data_batch):
    """Creates the variables of a compiled student's loss before Keras traces a step.

    Args:
        distiller: The `Distiller`.
        iterator: Keras's iterator over the epoch's data, or `None`.
        data_batch: A batch, if there is no iterator.
    """
    own = compile_loss_of(distiller.student)
    if compile_loss_of(distiller) is not None or own is None or own.built:
        return
    if data_batch is None:
        _, _, data = next(iter(iterator))
        data_batch = data[0] if isinstance(data, (list, tuple)) else next(data)
    _, y, _ = keras.utils.unpack_x_y_sample_weight(data_batch)
    build(distiller, y)


class _TaskLoss(keras.layers.Layer):
    """Wraps the task loss in a layer, so that Keras can run it symbolically."""

    def __init__(self, distiller):
        super().__init__()
        self._compute_loss = distiller.compute_loss

    def call(self, inputs):
        x, y, y_pred = inputs
        return self._compute_loss(x=x, y=y, y_pred=y_pred)
