"""Computes what each named loss contributes to a training."""

import dataclasses

from keras_diffkd.training.loss_balance import log_name
from keras_diffkd.validation.arguments import is_balanced

from .. import flags
from ..methods import build_methods

# Smallest share of the total to show that no named loss explains.
MIN_REST = 0.005


@dataclasses.dataclass(frozen=True)
class Share:
    """Holds the share of a loss in the total.

    Args:
        name: str.
        weight: float, or None for the rest.
        value: float, the mean over the last epoch.
        share: float from 0 to 1, the part of all weighted losses.
    """

    name: str
    weight: float | None
    value: float
    share: float


def loss_weights(lines):
    """Returns the weight of every loss, by its name in `metrics.jsonl`.

    The flags must be those of the run; see `experiment.adopt`.

    Args:
        lines: list of dicts, a `metrics.jsonl`. Its last line holds the weights that
            training has set itself.
    """
    weights = {"task_loss": flags.TASK_LOSS_WEIGHT.value}
    for method in _known_methods():
        for name, weight in method.loss_weights.items():
            weights[f"{method.name}/{name}"] = weight
    settled = lines[-1] if lines else {}
    return {
        name: settled.get(log_name(name), 1.0) if is_balanced(weight) else weight
        for name, weight in weights.items()
    }


def losses_beside_student(names):
    """Returns the losses whose gradient does not reach the student.

    The flags must be those of the run; see `experiment.adopt`.

    Args:
        names: list of str, the names of all losses.
    """
    beside = {
        f"{method.name}/{name}"
        for method in _known_methods()
        for name in method.teacher_losses
    }
    return [name for name in names if name in beside]


def _known_methods():
    # A report runs no code that a run names: the weights of own methods are unknown.
    known = [name for name in flags.METHOD.value if ":" not in name]
    return build_methods(known) if known else []


def loss_shares(line, weights):
    """Returns the share of each loss in the total.

    Args:
        line: dict, an epoch of `metrics.jsonl`.
        weights: dict from loss to weight.

    Returns:
        List of `Share`, largest first.
    """
    parts = {n: (w, line[n], w * line[n]) for n, w in weights.items() if n in line}
    rest = line.get("loss", 0.0) - sum(part for *_, part in parts.values())
    if parts and abs(rest) > MIN_REST * abs(line.get("loss", 0.0)):
        parts["other (regularization)"] = (None, rest, rest)
    # A loss may be negative: the total adds absolute values.
    total = sum(abs(part) for *_, part in parts.values()) or 1.0
    shares = [
        Share(name, weight, value, abs(part) / total)
        for name, (weight, value, part) in parts.items()
    ]
    return sorted(shares, key=lambda share: -share.share)


def named_losses(lines, weights):
    """Returns the names of all losses in the log, the task's first.

    Args:
        lines: list of dicts, a `metrics.jsonl`.
        weights: dict from loss to weight.
    """
    logged = {name for line in lines for name in line}
    settled = {log_name(name) for name in weights}
    others = sorted(
        name
        for name in logged
        if "/" in name and not name.endswith("/gamma") and name not in settled
    )
    return list(dict.fromkeys([n for n in weights if n in logged] + others))


def gammas(lines):
    """Returns the names of the weights γ of noise matching in the log."""
    return sorted({n for line in lines for n in line if n.endswith("/gamma")})
