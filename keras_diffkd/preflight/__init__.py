"""Checks before the first step of a training: never train on nonsense."""

from keras_diffkd.preflight.features import COLUMNS, feature_rows
from keras_diffkd.preflight.findings import Findings, PreflightError, PreflightWarning
from keras_diffkd.preflight.run import check_fit

__all__ = [
    "COLUMNS",
    "Findings",
    "PreflightError",
    "PreflightWarning",
    "check_fit",
    "feature_rows",
]
