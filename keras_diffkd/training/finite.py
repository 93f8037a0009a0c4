"""Checks that everything in a step is finite before the step is applied.

Each watched tensor is scaled down and summed: the sum is finite if and only if all of
its values are. Small tensors, which most gradients and statistics are, are concatenated
first, because small networks spend their time on the number of operations. All of this
is part of the compiled step on backends that compile it. `divergence` names the values
that are not finite.
"""

import math

import keras

from keras_diffkd.features.pairs import taps_of
from keras_diffkd.training import backend
from keras_diffkd.training.state import state_variables

# Gradients and statistics with up to this many values are concatenated.
SMALL = 4096
# With this factor, 1e18 values of the largest float32 have a finite sum. The compiler
# would optimize away a factor of 0 or a difference from itself, and NaN with it.
SCALE = 1e-20


def finiteness(distiller, x, gradients, results):
    """Returns flags that say which tensors of a step are finite.

    Args:
        distiller: The `Distiller`.
        x: Batch of inputs.
        gradients: List of the gradients of the trainable variables. `None` stands for
            a variable without a gradient.
        results: `StepResults`.

    Returns:
        Dict with three vectors. `flags` are booleans for each watched tensor of the
        forward pass, then for all small statistics together and each large one, then
        for all small gradients together and each large one. `statistics` and
        `gradients` hold the values of all small ones.
    """
    sums = [_total(tensors) for tensors in _watched(distiller, x, results)]
    small = {}
    for name, variables, values in (
        ("statistics", state_variables(distiller), results.state),
        ("gradients", distiller.trainable_variables, gradients),
    ):
        # The values may have unknown shapes: use those of the variables.
        pairs = [
            (variable, keras.ops.zeros(variable.shape) if value is None else value)
            for variable, value in zip(variables, values, strict=True)
            if is_float(variable)
        ]
        small[name] = _joined([value for v, value in pairs if is_small(v)])
        large = [value for v, value in pairs if not is_small(v)]
        sums += [_total(structure) for structure in (small[name], *large)]
    return {"flags": keras.ops.isfinite(keras.ops.stack(sums)), **small}


def _watched(distiller, x, results):
    """Returns the watched tensors of a forward pass, causes before effects."""
    found = {"teacher": {}, "student": {}}
    for method, pair in zip(distiller.methods, results.features, strict=True):
        for whose, feature in zip(found, pair, strict=True):
            taps = getattr(method, f"{whose}_tap")
            if not isinstance(taps, (list, tuple)):
                taps, feature = [taps], [feature]
            found[whose].update(zip(taps, feature, strict=True))
    return [
        x,
        *(found["teacher"][tap] for tap in tapped(distiller, "teacher")),
        *(found["student"][tap] for tap in tapped(distiller, "student")),
        results.y_pred,
        *(results.losses[name] for name in watched_losses(distiller)),
    ]


def tapped(distiller, whose):
    """Returns the taps of a model, without the student's output, always watched."""
    taps = dict.fromkeys(taps_of(distiller.methods, whose))
    if whose == "student":
        taps.pop(None, None)
    return list(taps)


def watched_losses(distiller):
    """Returns the names of the losses, the total last, without logged metrics."""
    of_methods = [
        f"{method.name}/{name}"
        for method in distiller.methods
        for name in method.loss_weights
    ]
    return ["task_loss", *of_methods, "loss"]


def is_small(variable):
    """Returns whether the gradient or value of a variable is concatenated."""
    return math.prod(variable.shape) <= SMALL


def has_overflowed(distiller, finite):
    """Returns whether a gradient is not finite, as a boolean scalar."""
    large = sum(not is_small(v) for v in distiller.trainable_variables)
    flags = finite["flags"]
    return keras.ops.logical_not(keras.ops.all(flags[flags.shape[0] - large - 1 :]))


def keep_if_skipped(skipped, old, new):
    """Returns the new state, with the old statistics if the step is skipped.

    The states of random generators still advance, so that the next step draws new
    noise.
    """
    return [
        keras.ops.where(skipped, before, after) if is_float(after) else after
        for before, after in zip(old, new, strict=True)
    ]


def is_float(tensor):
    """Returns whether a tensor or variable holds floats of any width."""
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def _joined(tensors):
    """Returns the values of all tensors as one float32 vector."""
    if not tensors:
        return keras.ops.zeros((0,), "float32")
    # Most are vectors already, and each operation takes time to trace and to run.
    vectors = [t if len(t.shape) == 1 else keras.ops.reshape(t, (-1,)) for t in tensors]
    return keras.ops.concatenate([keras.ops.cast(v, "float32") for v in vectors])


def _total(structure):
    """Returns the scaled float32 sum of all floats in a structure, or 0 without any."""
    sums = []
    for leaf in keras.tree.flatten(structure):
        if leaf is not None:
            # The sum of a sparse tensor would be sparse.
            leaf = keras.ops.convert_to_tensor(backend.stored_values(leaf))
            if is_float(leaf):
                sums.append(keras.ops.sum(keras.ops.cast(leaf, "float32") * SCALE))
    return sum(sums[1:], sums[0]) if sums else keras.ops.zeros((), "float32")
