"""Defines the tasks of `--task`, a file for each."""

from .. import flags
from .classification import Classification
from .detection import Detection
from .segmentation import Segmentation
from .task import evaluate, forward

__all__ = [
    "Classification",
    "Detection",
    "Segmentation",
    "current",
    "distill_weight",
    "evaluate",
    "forward",
]

TASKS = {task.name: task for task in (Classification(), Detection(), Segmentation())}


def current():
    """Returns the `Task` that `--task` names."""
    return TASKS[flags.TASK.value]


def distill_weight():
    """Returns `--distill_weight`, or the default of the task: a float or "balanced"."""
    given = flags.DISTILL_WEIGHT.value
    if given is not None:
        return given
    # "balanced" needs a task loss.
    return current().distill_weight if flags.TASK_LOSS_WEIGHT.value else 1.0
