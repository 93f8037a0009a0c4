"""Checks on a list of methods, and on the losses that they return."""

from keras_diffkd.methods.method import DistillationMethod


def check_methods(methods, teacher):
    """Raises `ValueError` unless these are methods with names of their own."""
    for method in methods:
        if not isinstance(method, DistillationMethod):
            raise ValueError(
                "`methods` must be a list of keras_diffkd.DistillationMethod (or "
                "keras.distillation.DistillationLoss). "
                f"Received: {type(method).__name__}"
            )
    names = [method.name for method in methods]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            "Every method needs its own name, which prefixes its logs. Received: "
            f'{names}. Rename {repeated}, with `name="diffkd_logits"` for instance.'
        )
    if methods and teacher is None:
        raise ValueError(
            f"The methods {names} need a `teacher`. Received: teacher=None"
        )


def check_loss_names(method, results):
    """Raises `ValueError` if a method returned other names than it declares."""
    declared = {*method.loss_weights, *method.metric_names}
    if set(results) != declared:
        raise ValueError(
            f"Method {method.name!r} must return exactly the names in its "
            f"`loss_weights` and `metric_names`: {sorted(declared)}. "
            f"Received: {sorted(results)}"
        )
