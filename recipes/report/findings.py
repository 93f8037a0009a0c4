"""Finds reasons for warnings in a run."""

from .losses import gammas, named_losses
from .records import ALONE, DISTILLED

ZERO = 1e-8
FLAT_GAMMA = 0.01
# A loss that falls by more in the last tenth of the epochs needs more of them.
STEEP_FALL = 0.05


def find_warnings(record, weights, gain):
    """Lists the warnings about a run.

    Args:
        record: `Record`.
        weights: dict from loss to weight.
        gain: `Interval` of the distilled student over the student alone, or None.

    Returns:
        List of str.
    """
    return [
        *_of_the_gain(record, gain),
        *_of_zero_losses(record.distilled, weights),
        *_of_flat_gammas(record.distilled),
        *_of_steep_losses(record.curves),
    ]


def _of_the_gain(record, gain):
    if DISTILLED not in record.curves:
        return
    if gain is None:
        yield (
            "There is no student alone to compare with, so the gain is unknown. Train "
            "one with diffkd-distill --baseline."
        )
        return
    if gain.mean < 0:
        yield (
            f"The distilled student is worse than the student alone, by "
            f"{-100 * gain.mean:.2f} points."
        )
    if gain.count == 1:
        yield (
            "One seed is not enough: other initial weights and another order of the "
            "data may reverse the gain. Train with several seeds."
        )
    elif gain.p is None:
        yield (
            f"The gain is the same for all {gain.count} seeds, to the last digit. "
            "Check that they are different trainings."
        )
    elif not gain.significant:
        yield (
            f"The gain is not significant (p = {gain.p:.3f} over {gain.count} seeds): "
            "it may be noise."
        )


def _of_zero_losses(lines, weights):
    for name in named_losses(lines, weights):
        if all(abs(line.get(name, 0.0)) < ZERO for line in lines):
            yield (
                f"The loss {name} is zero in all epochs, and the student learns "
                "nothing from it. Check the layers that it compares."
            )


def _of_flat_gammas(lines):
    for name in gammas(lines):
        # In the first epoch, the mean still depends on the initial γ.
        values = [line[name] for line in lines[1:] if name in line]
        if len(values) < 2 or max(values) - min(values) > FLAT_GAMMA:
            continue
        yield (
            f"γ is flat: after the first epoch {name} stays between "
            f"{min(values):.4f} and {max(values):.4f}. Noise adaptation does nothing."
        )


def _of_steep_losses(curves):
    for name in (DISTILLED, ALONE):
        fall, epochs = _last_fall(curves.get(name, []))
        if fall > STEEP_FALL:
            span = "epoch" if epochs == 1 else f"{epochs} epochs"
            yield (
                f"The loss of the {name} still falls steeply at the end, by "
                f"{fall:.0%} in the last {span}: more epochs may change the picture."
            )


def _last_fall(lines):
    """Returns the part by which the loss fell in the last tenth, and its epochs."""
    epochs = max(1, round(len(lines) / 10))
    losses = [line.get("loss", 0.0) for line in lines]
    if len(losses) < 3 or losses[-1 - epochs] <= 0:
        return 0.0, epochs
    return 1 - losses[-1] / losses[-1 - epochs], epochs
