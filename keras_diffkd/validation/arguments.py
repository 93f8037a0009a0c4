"""Checks the arguments of constructors; each error names the argument."""

import math
import numbers

import keras


def check_number(
    name, value, *, least=-math.inf, above=-math.inf, most=math.inf, below=math.inf
):
    """Raises `ValueError` unless an argument is a finite number in its range.

    Args:
        name: String, the name of the argument.
        value: Value that was passed.
        least: Number, the smallest value that is allowed.
        above: Number that the value must exceed.
        most: Number, the largest value that is allowed.
        below: Number that the value must stay below.

    Example:

    >>> check_number("temperature", float("nan"), above=0)
    Traceback (most recent call last):
    ...
    ValueError: `temperature` must be a finite number above 0. Received: temperature=nan
    """
    if (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        # NaN fails every comparison, and infinity the strict ones.
        and least <= value <= most
        and above < value < below
    ):
        return
    limits = [
        f"{word} {limit:g}"
        for word, limit in (
            ("of at least", least),
            ("above", above),
            ("up to", most),
            ("below", below),
        )
        if math.isfinite(limit)
    ]
    raise ValueError(
        f"`{name}` must be a finite number{' ' * bool(limits)}{' and '.join(limits)}. "
        f"Received: {name}={value!r}"
    )


def check_weight(name, value, can_balance=False):
    """Raises `ValueError` unless an argument is a valid loss weight.

    Args:
        name: String, the name of the argument.
        value: Value that was passed. It must be a finite number of at least 0, or a
            schedule that starts with one.
        can_balance: Boolean, whether it may be `"balanced"`.

    Example:

    >>> check_weight("weight", keras.optimizers.schedules.CosineDecay(1.0, 100))
    >>> check_weight("weight", -1.0)
    Traceback (most recent call last):
    ...
    ValueError: `weight` must be a finite number of at least 0. Received: weight=-1.0
    """
    if can_balance and is_balanced(value):
        return
    if is_schedule(value):
        check_number(f"{name}(0)", float(keras.ops.convert_to_numpy(value(0))), least=0)
    elif not isinstance(value, numbers.Real):
        balanced = '"balanced", ' if can_balance else ""
        raise ValueError(
            f"`{name}` must be a finite number of at least 0, {balanced}or a "
            "keras.optimizers.schedules.LearningRateSchedule. Received: "
            f"{name}={value!r}"
        )
    else:
        check_number(name, value, least=0)


def is_schedule(weight):
    """Returns whether a loss weight is a schedule over the training steps."""
    return isinstance(weight, keras.optimizers.schedules.LearningRateSchedule)


def is_number(weight):
    """Returns whether a loss weight is a real number."""
    return isinstance(weight, numbers.Real) and not isinstance(weight, bool)


def is_balanced(weight):
    """Returns whether training sets a loss weight itself (see `LossBalance`)."""
    return isinstance(weight, str) and weight == "balanced"


def check_integer(name, value, least, most=None):
    """Returns an argument as `int`, the only integer type Keras's layers accept.

    Args:
        name: String, the name of the argument.
        value: Value that was passed. NumPy integers are accepted, floats are not.
        least: Integer, the smallest value that is allowed.
        most: Integer, the largest value that is allowed; `None` for no limit.

    Raises:
        ValueError: If the value is not an integer, or is out of range.

    Example:

    >>> check_integer("k", 0, 1, 4)
    Traceback (most recent call last):
    ...
    ValueError: `k` must be an integer in 1 to 4. Received: k=0
    """
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if is_integer and value >= least and (most is None or value <= most):
        return int(value)
    limits = f"of at least {least}" if most is None else f"in {least} to {most}"
    raise ValueError(
        f"`{name}` must be an integer {limits}. Received: {name}={value!r}"
    )


def check_seed(seed):
    """Raises `ValueError` unless a seed is `None` or an integer that Keras accepts."""
    if seed is not None:
        check_integer("seed", seed, 0, 2**32 - 1)


def check_choice(name, value, choices):
    """Raises `ValueError` unless an argument is one of a few values.

    Args:
        name: String, the name of the argument.
        value: Value that was passed.
        choices: Iterable of the allowed values.

    Example:

    >>> check_choice("resize", "cubic", (None, "nearest"))
    Traceback (most recent call last):
    ...
    ValueError: `resize` must be one of [None, 'nearest']. Received: resize='cubic'
    """
    choices = list(choices)
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(
            f"`{name}` must be one of {choices}. Received: {name}={value!r}"
        )
