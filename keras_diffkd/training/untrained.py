"""Names the weights that a step cannot train, once, instead of Keras's remark."""

import warnings

LISTED = 5


def trained_pairs(distiller, gradients):
    """Returns the gradients and variables of the weights that the step trains.

    Warns of the others when it meets them for the first time.

    Args:
        distiller: The `Distiller`.
        gradients: Gradients of `distiller.trainable_variables`, `None` where there is
            none.

    Returns:
        `(gradients, variables)`, two lists. They are complete if there is no gradient
        at all: Keras's optimizers refuse that by name.
    """
    variables = distiller.trainable_variables
    missing = [
        variable.path
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is None
    ]
    if not missing or len(missing) == len(variables):
        return gradients, variables
    if missing != distiller.record.untrained:
        distiller.record.untrained = missing
        warnings.warn(_message(missing, len(variables)), stacklevel=2)
    pairs = zip(gradients, variables, strict=True)
    return tuple(zip(*(p for p in pairs if p[0] is not None), strict=True))


def _message(missing, count):
    listed = ", ".join(map(repr, missing[:LISTED]))
    if len(missing) > LISTED:
        listed += f" and {len(missing) - LISTED} more"
    return (
        f"{len(missing)} of the {count} trainable weights get no gradient, so `fit` "
        f"does not change them: {listed}. No loss depends on them. Use their layers in "
        "the forward pass, tap a layer after them, or set `trainable = False` on them."
    )
