"""Whether everything in a step is finite, before anything of it is applied.

Every tensor that is watched is added up: the sum is finite only if each of its values
is. That is one operation for each tensor, in the compiled step where there is one, and
one vector of booleans comes out. `divergence.names` says what its elements are about.
"""

import keras


def totals(distiller, x, y_pred, features, losses, state):
    """Returns the sums of all that a forward pass is watched for, in order.

    Args:
        distiller: The `Distiller`.
        x: Batch of inputs.
        y_pred: The student's outputs.
        features: What `Distiller.tapped_features` returned.
        losses: Dict of scalars.
        state: The new values of `state_variables(distiller)`.
    """
    found = {"teacher": {}, "student": {}}
    for method, pair in zip(distiller.methods, features, strict=True):
        for whose, feature in zip(found, pair, strict=True):
            taps = getattr(method, f"{whose}_tap")
            if not isinstance(taps, (list, tuple)):
                taps, feature = [taps], [feature]
            found[whose].update(zip(taps, feature, strict=True))
    watched = [
        x,
        *(found["teacher"][tap] for tap in tapped(distiller, "teacher")),
        *(found["student"][tap] for tap in tapped(distiller, "student")),
        y_pred,
        *(losses[name] for name in watched_losses(distiller)),
        *(value for value in state if is_float(value)),
    ]
    return [_total(structure) for structure in watched]


def tapped(distiller, whose):
    """Returns the taps of a model; the student's output is watched anyway."""
    taps = dict.fromkeys(distiller._taps(whose))
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


def flags(totals, slopes):
    """Returns whether each of `names` is finite, as a vector of booleans.

    Args:
        totals: What `totals` returned.
        slopes: Gradients of the trainable variables, `None` where there is none.
    """
    return keras.ops.isfinite(keras.ops.stack([*totals, *map(_total, slopes)]))


def has_overflowed(distiller, finite):
    """Returns whether a gradient is not finite, as a boolean scalar."""
    others = finite.shape[0] - len(distiller.trainable_variables)
    return keras.ops.logical_not(keras.ops.all(finite[others:]))


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


def _total(structure):
    """Returns the float32 sum of all floats in a structure; 0 if there are none."""
    sums = []
    for leaf in keras.tree.flatten(structure):
        if leaf is not None:
            leaf = keras.ops.convert_to_tensor(leaf)
            if is_float(leaf):
                sums.append(keras.ops.sum(keras.ops.cast(leaf, "float32")))
    return sum(sums[1:], sums[0]) if sums else keras.ops.zeros((), "float32")
