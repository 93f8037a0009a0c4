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
    "evaluate",
    "forward",
]

TASKS = {task.name: task for task in (Classification(), Detection(), Segmentation())}


def current():
    """Returns the `Task` that `--task` names."""
    return TASKS[flags.TASK.value]
