"""What trains on one and on two replicas, and how the results are checked.

Each part has `results()`, which a script calls that has two logical devices, and
`check(results)`, which is given what came of it as JSON.
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
