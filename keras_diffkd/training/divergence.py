"""Decides whether a step may be applied and describes values that are not finite."""

import math

import keras
import numpy as np

from keras_diffkd.errors import TrainingDivergedError
from keras_diffkd.training.finite import is_float, is_small, tapped, watched_losses
from keras_diffkd.training.state import state_variables

MENTIONED = 3


def is_healthy(distiller, finite):
    """Returns whether the step may be applied, as a boolean scalar.

    Call this function after the step was counted.

    Args:
        distiller: The `Distiller`.
        finite: Dict that `finite.finiteness` returned.
    """
    flags = finite["flags"]
    healthy = keras.ops.all(keras.ops.logical_or(flags, ~_required(distiller)))
    count = distiller.record.count
    if count.can_skip:
        few = count.in_a_row < distiller.record.max_skipped_steps
        healthy = keras.ops.logical_and(healthy, few)
    return healthy


def _required(distiller):
    """Returns a NumPy array of booleans that says which flags must be true.

    The student's features and outputs are not required. They are part of the diagnosis
    only: a model may use infinity as a mask, and a real problem also affects the
    losses. Gradients may overflow if the optimizer scales the loss, because it skips
    the step.
    """
    required = [not name.startswith("the student's") for name in _names(distiller)]
    for what, _, variables in _updates(distiller):
        matters = what == "statistics" or not distiller.record.count.can_skip
        required += [matters] * (1 + sum(not is_small(v) for v in variables))
    return np.array(required)


def _names(distiller):
    """Returns the names of the values behind the first flags, causes first."""
    return [
        "the inputs",
        *(_feature("teacher", tap) for tap in tapped(distiller, "teacher")),
        *(_feature("student", tap) for tap in tapped(distiller, "student")),
        "the student's output",
        *(f"the loss {name}" for name in watched_losses(distiller)),
    ]


def _updates(distiller):
    """Returns `(key, prefix, variables)` for the other flags."""
    statistics = [
        variable for variable in state_variables(distiller) if is_float(variable)
    ]
    return (
        ("statistics", "the moving statistic", statistics),
        ("gradients", "the gradient of", distiller.trainable_variables),
    )


def _not_finite_names(distiller, finite):
    """Returns the names of all computed values that are not finite."""
    flags = iter(finite["flags"])
    bad = [name for name in _names(distiller) if not next(flags)]
    for key, prefix, variables in _updates(distiller):
        next(flags)  # The flag of all small ones together.
        ends = np.cumsum([math.prod(v.shape) for v in variables if is_small(v)])
        small = iter(np.split(np.isfinite(finite[key]), ends[:-1]))
        for variable in variables:
            ok = next(small).all() if is_small(variable) else next(flags)
            if not ok:
                bad.append(f"{prefix} {variable.path!r}")
    return bad


def diverged(distiller, finite, batch, step, skipped_in_a_row, replica=None):
    """Returns the `TrainingDivergedError` for a step.

    Args:
        distiller: The `Distiller`, in its state before the step.
        finite: Dict that `finite.finiteness` returned, as NumPy arrays.
        batch: Tuple `(x, y, sample_weight)` of NumPy arrays.
        step: Integer, the step in the epoch, from 1.
        skipped_in_a_row: Integer, the number of skipped steps up to this one.
        replica: Integer, or `None` if there is only one replica.
    """
    epoch = distiller.record.epoch
    step = None if epoch is None else int(step)
    where = "this step" if epoch is None else f"step {step} of epoch {epoch}"
    if replica is not None:
        where += f", on replica {replica}"
    culprits = _culprits(distiller, finite, batch)
    most = distiller.record.max_skipped_steps
    if distiller.record.count.can_skip and skipped_in_a_row >= most:
        message = _too_many_skipped(distiller, where, culprits)
    else:
        message = _not_finite(where, culprits)
    return TrainingDivergedError(message, culprits, epoch, step, batch)


def _not_finite(where, culprits):
    first, *others = culprits
    message = f"training diverged in {where}. First value not finite: {first}"
    if others:
        message += f"; then: {', '.join(others[:MENTIONED])}"
    if len(others) > MENTIONED:
        message += f" and {len(others) - MENTIONED} more"
    return f"{message}. This step was not applied. {_advice(first)}"


def _too_many_skipped(distiller, where, culprits):
    most = distiller.record.max_skipped_steps
    scale = float(keras.ops.convert_to_numpy(distiller.optimizer.dynamic_scale))
    overflowing = [c for c in culprits if c.startswith("the gradient of")]
    # All replicas skip a step together, so the overflow may be on another replica.
    first = overflowing[0] if overflowing else "gradients of another replica"
    more = f" and {len(overflowing) - 1} more" if len(overflowing) > 1 else ""
    return (
        f"training diverged in {where}: {most} steps in a row were skipped, because "
        f"{first}{more} were not finite, even at a loss scale of {scale:g}. Try "
        "mixed_bfloat16 or float32, a smaller learning rate, or a larger "
        "`max_skipped_steps`."
    )


def _advice(first):
    if first.startswith(("the inputs", "the targets", "the sample weights")):
        return "Check the data."
    if first.startswith("the weight"):
        return "Continue from an older snapshot."
    if first.startswith("the teacher's"):
        return (
            "Check the teacher's weights and `teacher_preprocess`. In float16, values "
            "above 65504 overflow."
        )
    return (
        "Try a smaller learning rate, clipped gradients (`global_clipnorm`), or "
        "float32 instead of half precision."
    )


def _culprits(distiller, finite, batch):
    """Returns the names of all values that are not finite, causes first."""
    x, y, sample_weight = batch
    bad = _not_finite_names(distiller, finite)
    of_inputs = [name for name in bad if name == "the inputs"]
    of_teacher = [name for name in bad if name.startswith("the teacher's")]
    teacher = distiller.teacher.variables if distiller.methods else []
    return [
        # The samples of sparse and ragged inputs are unknown.
        *(_bad_samples("the inputs", x) or of_inputs),
        *_bad_weights("teacher's ", teacher),
        *of_teacher,
        *_bad_weights("", distiller.variables),
        *_bad_samples("the targets", y),
        *_bad_samples("the sample weights", sample_weight),
        *(name for name in bad if name not in (*of_inputs, *of_teacher)),
    ]


def _bad_samples(what, structure):
    """Returns `[text]` that names the samples that are not finite, or `[]`."""
    bad, size = set(), 0
    for leaf in keras.tree.flatten(structure):
        if isinstance(leaf, np.ndarray) and is_float(leaf):
            size = len(leaf)
            finite = np.isfinite(leaf).reshape(size, -1).all(axis=1)
            bad.update(np.flatnonzero(~finite).tolist())
    if not bad:
        return []
    listed = ", ".join(map(str, sorted(bad)[:MENTIONED]))
    listed += ", ..." if len(bad) > MENTIONED else ""
    return [f"{what} (sample {listed} of {size})"]


def _bad_weights(whose, variables):
    return [
        f"the {whose}weight {variable.path!r}"
        for variable in variables
        if is_float(variable)
        and not np.isfinite(
            keras.ops.convert_to_numpy(keras.ops.cast(variable.value, "float32"))
        ).all()
    ]


def _feature(whose, tap):
    return f"the {whose}'s " + ("output" if tap is None else f"feature {tap!r}")
