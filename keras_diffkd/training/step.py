"""The objective of a step as a pure function, the same on every backend."""

import keras

from keras_diffkd.features.taps import input_spec
from keras_diffkd.training.masks import with_masks
from keras_diffkd.training.scope import StepScope, fold


def state_variables(distiller):
    """Returns the variables that a forward pass may change.

    Those that the model does not know, or trains, come last: the first forward pass
    tells which they are, so that the list may be longer after `objective` than before.
    """
    return [
        *distiller.non_trainable_variables,
        *loss_means(distiller),
        *distiller._step.assigned,
    ]


def layers_metrics(distiller):
    """Returns the variables of the metrics that layers update while they run."""
    return [
        variable
        for network in (distiller.student, *distiller.methods)
        for layer in network._flatten_layers()
        for metric in layer._metrics
        for variable in metric.variables
    ]


def loss_means(distiller):
    """Returns the variables of the means that losses of several outputs keep."""
    parts = parts_of_task_loss(distiller)
    return [variable for metric in parts for variable in metric.variables]


def parts_of_task_loss(distiller):
    """Returns those means, which are metrics."""
    container = task_compile_loss(distiller)
    return container.metrics if container is not None else []


def task_compile_loss(distiller):
    """Returns Keras's container of the task's losses: ours, or the student's own."""
    if distiller._compile_loss is not None:
        return distiller._compile_loss
    return distiller.student._compile_loss


def build_task_loss(distiller, y):
    """Creates the variables of the task's loss, ours or the student's own.

    It runs symbolically: Keras's loss brings targets and outputs together as it is
    called, and only a `compute_loss` of the student's own knows what it makes of `y`.

    Args:
        distiller: The `Distiller`.
        y: Batch of targets, or what has their shapes and dtypes.
    """
    container = task_compile_loss(distiller)
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


class _TaskLoss(keras.layers.Layer):
    """Lets Keras run the task loss symbolically."""

    def __init__(self, distiller):
        super().__init__()
        self._compute_loss = distiller.compute_loss

    def call(self, inputs):
        x, y, y_pred = inputs
        return self._compute_loss(x=x, y=y, y_pred=y_pred)


def teacher_variables(distiller):
    """Returns the variables that the step only reads."""
    return distiller._step.teacher_variables


def only_read(teacher, student):
    """Returns a teacher's variables, without those of a frozen part that both have."""
    own = {id(variable) for variable in student.variables}
    return [variable for variable in teacher.variables if id(variable) not in own]


def objective(
    distiller, trainable, state, teacher, weights, x, y, sample_weight, seed, loss_scale
):
    """Computes the loss to differentiate, without reading or writing a variable.

    Args:
        distiller: The `Distiller`.
        trainable: Values of `distiller.trainable_variables`.
        state: Values of `state_variables(distiller)`, as many as were known.
        teacher: Values of `teacher_variables(distiller)`.
        weights: What the losses weigh, of `LossWeights.next`.
        x: Batch of inputs.
        y: Batch of targets.
        sample_weight: Weights of the samples, or `None`.
        seed: Integer folded into every seed generator: replicas that pass
            different ones draw different noise. 0 changes nothing.
        loss_scale: Float that multiplies the returned loss alone.

    Returns:
        `(scaled loss, (losses, y_pred, new state, features))`; `y_pred` is the pair
        of outputs and masks, the new values are those of `state_variables(distiller)`
        of then, the features are what `Distiller.tapped_features`
        returned.
    """
    variables = state_variables(distiller)[: len(state)]
    known = [
        (variable, fold(variable, value, seed))
        for variable, value in zip(variables, state, strict=True)
    ]
    known += zip(teacher_variables(distiller), teacher, strict=True)
    trained = list(zip(distiller.trainable_variables, trainable, strict=True))
    with StepScope(known, trained, distiller.teacher, seed) as scope:
        y_pred, features = distiller.tapped_features(x)
        weights = distiller._step.loss_weights.by_name(weights)
        losses = distiller.losses_of(x, y, sample_weight, y_pred, features, weights)
    _remember(distiller, scope.found)
    new_state = [scope.new_value(variable) for variable in state_variables(distiller)]
    results = losses, with_masks(y_pred), new_state, features
    return losses["loss"] * loss_scale, results


def _remember(distiller, found):
    """Lists variables that a step assigned; replicas find the same ones."""
    assigned = distiller._step.assigned
    listed = {id(variable) for variable in assigned}
    assigned += [variable for variable in found if id(variable) not in listed]


def update_metrics(distiller, losses, x, y, y_pred, sample_weight, batch_size=None):
    """Adds a batch to the means of all losses and to the metrics; returns the logs.

    Args:
        distiller: The `Distiller`.
        losses: What `objective` returned: a dict of scalars.
        x: Batch of inputs.
        y: Batch of targets.
        y_pred: The student's outputs.
        sample_weight: Weights of the samples, or `None`.
        batch_size: What the losses weigh in their means; read off `x` if `None`.
    """
    if batch_size is None:
        batch_size = keras.ops.shape(keras.tree.flatten(x)[0])[0]
    distiller._loss_tracker.update_state(losses["loss"], sample_weight=batch_size)
    for name, tracker in distiller._trackers.items():
        tracker.update_state(losses[name], sample_weight=batch_size)
    return distiller.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
