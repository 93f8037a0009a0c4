"""The task loss: the one that was compiled, or the student's own."""

import keras

from keras_diffkd.features.taps import input_spec
from keras_diffkd.keras_private.trainer import compile_loss_of


def check_given(distiller, loss):
    """Raises `ValueError` if `compile` gets no task loss though labels count."""
    student = distiller.student
    if loss is None and not student.compiled and distiller.learns_from_labels():
        raise ValueError(
            "There is no task loss: pass `loss` to `compile`, or compile the "
            f"student {student.name!r} with its own. To learn from the "
            "teacher alone, pass task_loss_weight=0 to `Distiller`."
        )


def check_labels_for_evaluation(distiller, data):
    """Raises `ValueError` if the compiled loss cannot evaluate a batch."""
    _, y, _ = keras.utils.unpack_x_y_sample_weight(data)
    if y is None and compile_loss_of(distiller) is not None:
        raise ValueError(
            "The loss needs labels to evaluate the student. Received: y=None. Pass "
            "`y`, or a data set of `(x, y)`."
        )


def counts(distiller, y):
    """Whether a batch has a task loss: not where the student learns without labels.

    Args:
        distiller: The `Distiller`.
        y: Batch of targets, or `None`.

    Raises:
        ValueError: If the compiled loss needs labels and there are none.
    """
    if not distiller.learns_from_labels() and (y is None or not _exists(distiller)):
        distiller.record.loss_weights.labels_left_out = True
        return False
    if y is None and compile_loss_of(distiller) is not None:
        raise ValueError(
            "The task loss needs labels. Received: y=None. Pass `y`, or a data set "
            "of `(x, y)`; or pass task_loss_weight=0 to `Distiller`, to learn from "
            "the teacher alone."
        )
    return True


def _exists(distiller):
    """Whether there is a loss on the student's outputs, ours or its own."""
    student = distiller.student
    return (
        compile_loss(distiller) is not None
        or student.compiled
        and overrides_loss(student)
    )


def overrides_loss(student):
    """Whether a student has a `compute_loss` of its own, as KerasHub's detectors do."""
    return type(student).compute_loss is not keras.Model.compute_loss


def compile_loss(distiller):
    """Returns Keras's container of the task's losses: ours, or the student's own."""
    if compile_loss_of(distiller) is not None:
        return compile_loss_of(distiller)
    return compile_loss_of(distiller.student)


def parts(distiller):
    """Returns the means, which are metrics, that a loss of several outputs keeps."""
    container = compile_loss(distiller)
    return container.metrics if container is not None else []


def loss_means(distiller):
    """Returns the variables of these means."""
    return [variable for metric in parts(distiller) for variable in metric.variables]


def num_label_classes(distiller):
    """Returns how many classes integer labels may name, or `None`.

    Only for a loss on sparse labels and a student with one output.
    """
    loss = distiller.loss if compile_loss_of(distiller) is not None else None
    name = loss if isinstance(loss, str) else getattr(loss, "name", None)
    if name != "sparse_categorical_crossentropy":
        return None
    if getattr(loss, "ignore_class", None) is not None:
        return None  # One label that is not a class is meant to be there.
    return getattr(distiller.output_spec, "shape", (None,))[-1]


def build(distiller, y):
    """Creates the variables of the task's loss, ours or the student's own.

    It runs symbolically: Keras's loss brings targets and outputs together as it is
    called, and only a `compute_loss` of the student's own knows its targets.

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
    """Creates the variables of a compiled student's loss before Keras traces.

    Args:
        distiller: The `Distiller`.
        iterator: Keras's iterator over the epoch's data, or `None`.
        data_batch: A batch, where there is no iterator.
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
    """Lets Keras run the task loss symbolically."""

    def __init__(self, distiller):
        super().__init__()
        self._compute_loss = distiller.compute_loss

    def call(self, inputs):
        x, y, y_pred = inputs
        return self._compute_loss(x=x, y=y, y_pred=y_pred)
