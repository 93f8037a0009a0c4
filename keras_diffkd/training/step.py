"""Defines a training step as a pure function, the same on every backend."""

from keras_diffkd.features.tapped_tensors import TappedTensors
from keras_diffkd.training.counted_positions import counted_positions
from keras_diffkd.training.loss_balance import (
    balanced_losses,
    is_balancing,
    weights_in_logs,
)
from keras_diffkd.training.masks import with_masks
from keras_diffkd.training.method_targets import method_targets
from keras_diffkd.training.scope import StepScope, fold
from keras_diffkd.training.state import (
    remember_assigned,
    state_variables,
)
from keras_diffkd.training.values import StepResults
from keras_diffkd.validation.loss_names import check_loss_names


def step(distiller, values, batch):
    """Computes the loss to differentiate without reading or writing variables.

    Args:
        distiller: The `Distiller`.
        values: `StepValues`.
        batch: `Batch`.

    Returns:
        `(scaled loss, StepResults)`.
    """
    scope = _scope(distiller, values)
    outcome = _run(distiller, scope, values, batch)
    remember_assigned(distiller, scope.found)
    if scope.found_inside:
        # These results lack the assignments: run again, in place.
        distiller.record.in_place += scope.found_inside
        return step(distiller, values, batch)
    y_pred, features, losses, balanced = outcome
    state = [scope.new_value(variable) for variable in state_variables(distiller)]
    results = StepResults(losses, with_masks(y_pred), state, features, balanced)
    return losses["loss"] * values.loss_scale, results


def _run(distiller, scope, values, batch):
    """Returns `(y_pred, features, losses, balanced losses)` of a step in its scope."""
    tapped = TappedTensors(values.offsets) if is_balancing(distiller) else None
    with scope:
        y_pred, features = distiller.tapped_features(batch.x, collector=tapped)
        weights = distiller.record.loss_weights.by_name(distiller, values.loss_weights)
        losses = losses_of(distiller, batch, y_pred, features, weights, tapped=tapped)
        balanced = balanced_losses(
            distiller, losses, weights, tapped, values.loss_scale
        )
    return y_pred, features, losses, balanced


def _scope(distiller, values):
    """Returns the scope in which layers read `values` instead of their variables."""
    variables = state_variables(distiller)[: len(values.state)]
    known = [
        (variable, fold(variable, value, values.seed))
        for variable, value in zip(variables, values.state, strict=True)
    ]
    known += zip(distiller.record.teacher_variables, values.teacher, strict=True)
    trained = list(zip(distiller.trainable_variables, values.trainable, strict=True))
    in_place = distiller.record.in_place
    return StepScope(known, trained, distiller.teacher, values.seed, in_place)


def losses_of(distiller, batch, y_pred, features, weights, training=True, tapped=None):
    """Returns a dict of all losses, with their weighted sum as `loss`.

    Args:
        distiller: The `Distiller`.
        batch: `Batch`.
        y_pred: The student's outputs.
        features: Pairs of features.
        weights: Dict from the name of every loss to its weight, a scalar.
        training: Boolean, whether the methods run in training mode.
        tapped: Optional `TappedTensors`, which collects what the methods get.
    """
    losses = {"task_loss": distiller.unscaled_loss(batch, y_pred, training)}
    for method, (teacher, student) in zip(distiller.methods, features, strict=True):
        mask = _mask(distiller, method, batch.y, y_pred, student)
        targets = method_targets(distiller, method, batch.y, y_pred, student)
        if tapped is not None:
            student = tapped.branch(method, student)
        results = method.compute_losses(
            teacher, student, targets=targets, training=training, **mask
        )
        check_loss_names(method, results)
        losses |= {f"{method.name}/{name}": v for name, v in results.items()}
    total = sum(weight * losses[name] for name, weight in weights.items())
    return {"loss": total, **losses, **weights_in_logs(distiller, weights)}


def _mask(distiller, method, y, y_pred, feature):
    """Returns the mask as a keyword argument, or none if every position counts."""
    mask = counted_positions(distiller, method, y, y_pred, feature)
    return {} if mask is None else {"mask": mask}
