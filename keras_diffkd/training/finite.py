"""Whether everything in a step is finite, before anything of it is applied.

Every tensor that is watched is scaled down and added up: the sum is finite if and only
if each of its values is. Small ones, which are most of the gradients and statistics,
are put together first: with small networks the number of operations is what costs time.
It all happens in the compiled step, where there is one. `divergence` says what was not
finite.
"""

import math

import keras

from keras_diffkd.features.pairs import taps_of
from keras_diffkd.training.state import state_variables

# Gradients and statistics of up to so many values are put together.
SMALL = 4096
# 1e18 of the largest float32 add up to a finite sum. A factor of zero, or a difference
# from itself, would be optimized away, NaN and all.
SCALE = 1e-20


def finiteness(distiller, x, gradients, results):
    """Returns flags that say which tensors of a step are finite.

    Args:
        distiller: The `Distiller`.
        x: Batch of inputs.
        gradients: List, of the trainable variables; `None` where there is none.
        results: `StepResults`.

    Returns:
        Dict: `flags`, a vector of booleans about what the forward pass is watched for,
        the small statistics together, each large one, the small gradients together,
        and each large one; `statistics` and `gradients`, vectors of all small ones.
    """
    sums = [_total(tensors) for tensors in _watched(distiller, x, results)]
    small = {}
    for name, variables, values in (
        ("statistics", state_variables(distiller), results.state),
        ("gradients", distiller.trainable_variables, gradients),
    ):
        # The shapes of the values may be unknown.
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
    """Returns the tensors that a forward pass is watched for, causes before effects."""
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
    """Returns the taps of a model; the student's output is watched anyway."""
    taps = dict.fromkeys(taps_of(distiller.methods, whose))
    if whose == "student":
        taps.pop(None, None)
    return list(taps)


def watched_losses(distiller):
    """Returns the names of the losses, the total last; not what is only logged."""
    of_methods = [
        f"{method.name}/{name}"
        for method in distiller.methods
        for name in method.loss_weights
    ]
    return ["task_loss", *of_methods, "loss"]


def is_small(variable):
    """Whether the gradient or the value of a variable is put together with others."""
    return math.prod(variable.shape) <= SMALL


def has_overflowed(distiller, finite):
    """Returns whether a gradient is not finite, as a boolean scalar."""
    large = sum(not is_small(v) for v in distiller.trainable_variables)
    flags = finite["flags"]
    return keras.ops.logical_not(keras.ops.all(flags[flags.shape[0] - large - 1 :]))


def keep_if_skipped(skipped, old, new):
    """Returns the new state, with the statistics of before if the step is skipped.

    The random draws go on: the same noise again would help nobody.
    """
    return [
        keras.ops.where(skipped, before, after) if is_float(after) else after
        for before, after in zip(old, new, strict=True)
    ]


def is_float(tensor):
    """Whether a tensor or variable holds floats, of any width."""
    return keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))


def _joined(tensors):
    """Returns the values of all tensors as one float32 vector."""
    if not tensors:
        return keras.ops.zeros((0,), "float32")
    return keras.ops.concatenate(
        [keras.ops.cast(keras.ops.reshape(t, (-1,)), "float32") for t in tensors]
    )


def _total(structure):
    """Returns the float32 sum of all floats in a structure, scaled; 0 without any."""
    sums = []
    for leaf in keras.tree.flatten(structure):
        if leaf is not None:
            leaf = keras.ops.convert_to_tensor(leaf)
            if is_float(leaf):
                sums.append(keras.ops.sum(keras.ops.cast(leaf, "float32") * SCALE))
    return sum(sums[1:], sums[0]) if sums else keras.ops.zeros((), "float32")
