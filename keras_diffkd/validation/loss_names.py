"""Checks the names of the losses that a method returns."""


def check_loss_names(method, results):
    """Raises `ValueError` unless a method returns exactly the names it declares."""
    declared = {*method.loss_weights, *method.metric_names}
    if set(results) != declared:
        raise ValueError(
            f"Method {method.name!r} must return exactly the names in its "
            f"`loss_weights` and `metric_names`: {sorted(declared)}. "
            f"Received: {sorted(results)}"
        )
