"""Finds the widest model within a limit."""

from keras_diffkd.pruning.sizes import multiply_adds, parameters
from keras_diffkd.validation.arguments import check_number

# Widths to try are multiples of one over this.
STEPS = 64


def kilobytes(graph, stays):
    """Returns the thousands of bytes of the weights that stay, in their own dtypes.

    Args:
        graph: `ChannelGraph`.
        stays: Boolean array, which atoms stay.
    """
    return parameters(graph, stays, _bytes) / 1000


def _bytes(weight):
    # "float32" or "bfloat16"; "bool" has no number.
    digits = "".join(filter(str.isdigit, weight.dtype))
    return int(digits or 8) / 8


MEASURES = {
    "max_parameters": parameters,
    "max_multiply_adds": multiply_adds,
    "max_kilobytes": kilobytes,
}


def widest_within(name, limit, measure, steps=STEPS):
    """Returns the largest width whose model is within a limit.

    Args:
        name: String, the name of the limit, for errors.
        limit: Number.
        measure: Callable that returns what a width measures.
        steps: Integer, see `widest`.

    Raises:
        ValueError: If even the smallest width measures more.

    Example:

    >>> widest_within("max_parameters", 30, lambda width: 100 * width)
    0.296875
    """
    check_number(name, limit, above=0)
    width = widest(lambda share: measure(share) <= limit, steps)
    if width is None:
        raise ValueError(
            f"`{name}` cannot be met: the smallest width, {1 / steps:g}, has "
            f"{measure(1 / steps):,g}. Received: {name}={limit:,g}. Raise the limit, "
            "choose a smaller `divisor`, or a smaller teacher"
        )
    return width


def widest(is_within, steps):
    """Returns the largest width for which something holds, or `None`.

    It assumes that it holds for all smaller widths, and tries about `log2(steps)`.

    Args:
        is_within: Callable from a width to a boolean.
        steps: Integer. Widths are multiples of `1 / steps`.

    Example:

    >>> widest(lambda width: width < 0.8, 16)
    0.75
    """
    low, high = 0, steps + 1
    while high - low > 1:
        middle = (low + high) // 2
        if is_within(middle / steps):
            low = middle
        else:
            high = middle
    return low / steps if low else None
