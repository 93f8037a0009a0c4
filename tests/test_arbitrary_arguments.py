"""Whatever is passed to a constructor: it works, or the error names the argument."""

import inspect

import keras
import numpy as np
import pytest
from helpers.strategies import FEW, anything
from hypothesis import given
from hypothesis import strategies as st

from keras_diffkd import (
    AFD,
    DIST,
    DKD,
    DSKD,
    RTK,
    TTM,
    DiffKD,
    Distiller,
    FitNet,
    KDiffusion,
    LogitsKD,
    VkD,
)
from keras_diffkd.diffusion import (
    DDIMSampler,
    Denoiser,
    LinearAutoencoder,
    NoiseAdapter,
    NoiseSchedule,
)
from keras_diffkd.interop.keras_distillation import KerasDistillation
from keras_diffkd.layers import OrthogonalProjection, RandomHyperplanes

# Arguments that have to be given, and are right.
REQUIRED = {
    AFD: {"teacher_tap": ["a", "b"], "student_tap": ["c"]},
    RTK: {"teacher_tap": ["a", "b"], "student_tap": ["c"], "k": 1},
    KDiffusion: {"teacher_tap": "a", "student_tap": "conv"},
    DDIMSampler: {"schedule": NoiseSchedule()},
    Denoiser: {"channels": 8},
    NoiseAdapter: {"channels": 8},
    LinearAutoencoder: {"input_channels": 8, "latent_channels": 4},
    OrthogonalProjection: {"input_features": 4, "output_features": 8},
    RandomHyperplanes: {"features": 4, "num_hyperplanes": 8},
    KerasDistillation: {"loss": None},
}
OTHERS = (LogitsKD, DIST, DKD, TTM, FitNet, VkD, DSKD, DiffKD, NoiseSchedule)
# Booleans are asked for their truth, as in all of Python.
TRUTHS = {
    "adapt_noise",
    "share_denoiser",
    "shuffle",
    "normalize_features",
    "standardize_logits",
    "weighted",
}
# Large numbers are legal, and large.
LARGE = {"channels", "latent_channels", "input_channels", "num_hashes", "key_dim"}


def outcome(make, **arguments):
    """Returns `(what was made, None)`, or `(None, the message of the error)`."""
    try:
        return make(**arguments), None
    except (TypeError, ValueError) as error:
        return None, str(error)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Distiller(network(), network(), LogitsKD()), "into a list"),
        (lambda: Distiller(network(), network(), None), "`methods` must be a list"),
        (
            lambda: Distiller(student=network(), task_loss_weight=float("nan")),
            "`task_loss_weight` must be a finite",
        ),
        (
            lambda: Distiller(network(), network(), teacher_preprocess=255),
            "`teacher_preprocess` must be None or a callable",
        ),
        (
            lambda: Distiller("wrn_40_2", None, ["kd"], task_loss_weight=-1.0),
            "(?s)4 problems.*`methods`.*`student`.*task_loss_weight.*`teacher`",
        ),
        (lambda: FitNet(3, "features"), "`teacher_tap` must be None"),
        (lambda: VkD(normalization=[]), "`normalization` must be one of"),
        (lambda: DiffKD(distance=np.zeros(2)), "`distance` must be"),
        (lambda: DSKD(gamma="much"), "`gamma` must be a finite number above 0"),
        (lambda: LogitsKD(temperature=float("inf")), "`temperature` must be a finite"),
        (lambda: DiffKD(denoise_weight=float("inf")), "`denoise_weight` must be"),
        (lambda: NoiseSchedule(float("inf")), "`num_train_timesteps` must be"),
        (lambda: DDIMSampler(1000), "`schedule` must be a NoiseSchedule"),
    ],
)
def test_slips_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


def test_integers_of_numpy_are_integers():
    method = DiffKD(latent_channels=np.int64(8), kernel_size=3)
    method.build((None, 4, 4, 16), (None, 4, 4, 8))
    assert method.get_config()["latent_channels"] == 8
    assert type(method.latent_channels) is int
    with pytest.raises(ValueError, match="latent_channels=8.0"):
        DiffKD(latent_channels=8.0)


@pytest.mark.parametrize("cls", [*REQUIRED, *OTHERS], ids=lambda cls: cls.__name__)
@FEW
@given(data=st.data())
def test_constructors(cls, data):
    names = [n for n in inspect.signature(cls).parameters if n not in TRUTHS]
    changed = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=2))
    values = {name: data.draw(anything, label=name) for name in changed}
    for name in values:
        if isinstance(values[name], (int, np.integer)) and name.endswith(
            ("channels", "features", "planes", "hashes", "dim", "timesteps", "branches")
        ):
            values[name] = min(values[name], 64)
    made, message = outcome(cls, **{**REQUIRED.get(cls, {}), **values})
    if made is None:
        assert any(name in message for name in names), message
        return
    weights = getattr(made, "loss_weights", {})
    assert all(np.isfinite(weight) and weight >= 0 for weight in weights.values())
