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

    It assumes that a wider model measures more, and tries about `log2(steps)` widths.

    Args:
        name: String, the name of the limit, for errors.
        limit: Number.
        measure: Callable that returns what a width measures.
        steps: Integer. Widths are multiples of `1 / steps`.

    Raises:
        ValueError: If even the smallest width measures more.

    Example:

    >>> widest_within("max_parameters", 30, lambda width: 100 * width)
    0.296875
    """
    check_number(name, limit, above=0)
    low, high = 0, steps + 1
    while high - low > 1:
        middle = (low + high) // 2
        if measure(middle / steps) <= limit:
            low = middle
        else:
            high = middle
    if low == 0:
        least = measure(1 / steps)
        raise ValueError(
            f"`{name}` cannot be met: the smallest width, {1 / steps:g}, has "
            f"{least:,g}. Received: {name}={limit:,g}. Raise the limit, choose a "
            "smaller `divisor`, or a smaller teacher"
        )
    return low / steps
