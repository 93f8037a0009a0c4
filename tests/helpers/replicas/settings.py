"""The settings of docs/scaling.md that are the likeliest to go wrong on replicas."""

from helpers.devices import mirrored_on_two_devices
from replica_setting_cases import SECTIONS
from replica_settings import compare, distiller, problem

# Optimizers, statistics of batches and replicas without samples: see the other files.
RISKY = [
    '`reduction="sum"`, `sample_weight`',
    '`reduction="mean_with_sample_weight"`, `sample_weight`',
    '`ignore_class`, `reduction="sum"`',
    'losses of two outputs, one `reduction="sum"`',
    'XLA, `reduction="sum"`',
    "metrics `MeanIoU` and `R2Score(class_aggregation=None)`",
    "batch normalization, `synchronized=True`",
    "loss scaling, mixed_float16",
]


def results():
    """Returns the contradiction to the page, or `None`, by setting."""
    settings = {s.name: s for section in SECTIONS.values() for s in section}
    strategy = mirrored_on_two_devices()
    return {
        name: problem(settings[name], compare(settings[name], distiller, strategy))
        for name in RISKY
    }


def check(found):
    """All are as the page says."""
    assert list(found) == RISKY
    assert not any(found.values()), found
