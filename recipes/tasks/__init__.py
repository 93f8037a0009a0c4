"""What `--task` means: one file for each kind of data set."""

from keras_diffkd.recipes import flags
from keras_diffkd.recipes.tasks.classification import Classification
from keras_diffkd.recipes.tasks.detection import Detection
from keras_diffkd.recipes.tasks.segmentation import Segmentation
from keras_diffkd.recipes.tasks.task import evaluate, forward

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
