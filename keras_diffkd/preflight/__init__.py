"""Checks models, data and settings before the first training step."""

from keras_diffkd.errors import PreflightError, PreflightWarning
from keras_diffkd.preflight.features import COLUMNS, feature_rows
from keras_diffkd.preflight.run import check_fit
from keras_diffkd.validation.findings import Findings

__all__ = [
    "COLUMNS",
    "Findings",
    "PreflightError",
    "PreflightWarning",
    "check_fit",
    "feature_rows",
]
