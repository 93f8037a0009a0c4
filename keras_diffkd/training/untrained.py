"""Warns once of weights that a step does not train, instead of Keras's own warning."""

import warnings

LISTED = 5


def trained_pairs(distiller, gradients):
    """Returns the gradients and variables of the weights that the step trains.

    It warns of the other weights when it finds them for the first time.

    Args:
        distiller: The `Distiller`.
        gradients: Gradients of `distiller.trainable_variables`. `None` stands for a
            variable without a gradient.

    Returns:
        `(gradients, variables)`, two lists. If no variable has a gradient, they contain
        all variables, so that Keras's optimizer raises its own error.
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
        "the forward pass, tap a layer after them, or set their `trainable` to False."
    )
