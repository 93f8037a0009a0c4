"""The models of `digit_scenes.py`: tasks, methods and the order of training."""

from typing import NamedTuple

from comparison import ALONE

TEACHER = "teacher"
# Each is the same with balanced weights, too.
AT_WEIGHT_1 = {
    "FitNet": "fitnet",
    "DiffKD": "diffkd_features",
    "KD of the pixels": "kd",
    "KD of the pixels, DiffKD": "kd,diffkd_features",
}
METHODS = {ALONE: ("--method=none",)} | {
    f"{title}{suffix}": (
        f"--method={name}",
        f"--distill_weight={weight}",
        *(["--temperature=1"] if title.startswith("KD") else []),
    )
    for weight, suffix in ((1, ""), ("balanced", ", balanced"))
    for title, name in AT_WEIGHT_1.items()
}
# Of the pixels of new segmenters, which it helped more than 1 (docs/shrinking.md).
METHODS["KD of the pixels, temperature 4"] = (
    "--method=kd",
    "--distill_weight=1",
    "--temperature=4",
)


class Task(NamedTuple):
    """A task on digit scenes: experiment, names of metrics, whether it has logits."""

    experiment: str
    metrics: dict[str, str]
    gives_logits: bool


class Model(NamedTuple):
    """One model to train."""

    task: str
    method: str
    seed: int


TASKS = {
    "detection": Task(
        "digit_scenes_retinanet", {"val_mAP": "mAP", "val_mAP50": "mAP50"}, False
    ),
    "segmentation": Task("digit_scenes_deeplabv3", {"val_mean_iou": "mIoU"}, True),
}


def methods_of(task):
    """Returns the names of the methods that a task has."""
    has_logits = TASKS[task].gives_logits
    return [name for name in METHODS if has_logits or not name.startswith("KD")]


def models(tasks, methods, seeds):
    """Lists the models to train, seed by seed."""
    return [
        Model(task, method, seed)
        for seed in range(seeds)
        for task in tasks
        for method in (TEACHER, *methods_of(task))
        if method in (TEACHER, *methods)
    ]


def model_of(record):
    """Returns the `Model` of a record."""
    return Model(*(record[field] for field in Model._fields))
