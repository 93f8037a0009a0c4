"""Trainings on one and on two replicas, and the checks of their results.

Each part has `results()`, for a script with two logical devices, and `check(found)`,
which takes these results after they were JSON.
"""

from helpers.replicas import (
    classification,
    every_method,
    optimizers,
    settings,
    small_parts,
    tasks,
)

PARTS = {
    "a classifier": classification,
    "layers, precision, mistakes": small_parts,
    "a detector and a segmenter": tasks,
    "optimizers": optimizers,
    "every method": every_method,
    "settings of the page": settings,
}
