"""Makes a smaller student out of a teacher: structured pruning."""

from keras_diffkd.pruning.report import ShrinkReport
from keras_diffkd.pruning.shrinking import shrink

__all__ = ["ShrinkReport", "shrink"]
