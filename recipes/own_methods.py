"""Builds methods of a user's own module, which `--method=module:Name` names."""

import importlib

from keras_diffkd.methods.method import DistillationMethod


def build_own_methods(name):
    """Imports a module and calls what it has under a name.

    Args:
        name: str, `"my_module:MyMethod"`: a subclass of `DistillationMethod` that takes
            no arguments, or a function that returns a method or a list of them.

    Returns:
        list of `DistillationMethod`.

    Raises:
        ValueError: if there is no such thing, or it gives something else.

    Example:

    ```python
    build_own_methods("keras_diffkd:LogitsKD")
    ```
    """
    module, _, attribute = name.partition(":")
    try:
        build = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"--method={name} needs the module {module!r}, which Python does not find. "
            "Name its folder in the environment: PYTHONPATH=."
        ) from None
    except AttributeError:
        raise ValueError(
            f"--method={name}: the module {module!r} does not have {attribute!r}"
        ) from None
    expected = (
        "a subclass of keras_diffkd.DistillationMethod, or a function that returns one "
        "method or a list of methods, that can be called without arguments"
    )
    try:
        built = build()
    except TypeError as error:
        raise ValueError(
            f"--method={name} must name {expected}. Received: {error}"
        ) from error
    methods = list(built) if isinstance(built, list | tuple) else [built]
    if not methods or not all(isinstance(m, DistillationMethod) for m in methods):
        raise ValueError(f"--method={name} must name {expected}. Received: {built!r}")
    return methods
