"""Builds the methods that `--method` names."""

from keras_diffkd import (
    AFD,
    DIST,
    DKD,
    DSKD,
    RTK,
    TTM,
    DiffKD,
    FitNet,
    KDiffusion,
    LogitsKD,
    VkD,
)

from . import flags, tasks
from .own_methods import build_own_methods


def build_methods(names):
    """Builds the distillation methods that the flags describe.

    Args:
        names: list of str, the value of `--method`.

    Returns:
        List of distillation methods for `Distiller`; empty for `["none"]`.

    Raises:
        ValueError: if a name is unknown or given twice, or `none` is combined.

    Example:

    ```python
    methods = build_methods(["kd", "diffkd_features"])
    ```
    """
    for name in names:
        if name not in METHODS and ":" not in name:
            raise ValueError(
                f"--method must be of {', '.join(METHODS)}, separated by commas, or "
                f"my_module:MyMethod. Received: {name!r}"
            )
    if not names or (len(names) > 1 and "none" in names):
        raise ValueError(
            "--method is one or several methods, or 'none' alone. "
            f"Received: {','.join(names)!r}"
        )
    task = tasks.current()
    of_logits = sorted(OF_LOGITS.intersection(names))
    if of_logits and not task.gives_logits:
        raise ValueError(
            f"--method={of_logits[0]} compares class scores of whole images or pixels, "
            f"which models of --task={task.name} do not give. Choose methods that "
            "compare features: diffkd, fitnet, vkd, afd or rtk"
        )
    methods = [
        method
        for name in names
        for method in (METHODS[name]() if name in METHODS else build_own_methods(name))
    ]
    if len({method.name for method in methods}) < len(methods):
        raise ValueError(
            "--method names the same method twice ('diffkd' is 'diffkd_features' and "
            f"'diffkd_logits'). Received: {','.join(names)!r}"
        )
    _check_standardize_logits(names, methods)
    return methods


def _check_standardize_logits(names, methods):
    """Raises `ValueError` if `--standardize_logits` says nothing to these methods."""
    if not flags.STANDARDIZE_LOGITS.value:
        return
    standardizing = any(getattr(m, "standardize_logits", False) for m in methods)
    if not standardizing or {"ttm", "wttm"}.intersection(names):
        raise ValueError(
            "--standardize_logits is for kd, dist, dkd and DiffKD on logits, and not "
            "for ttm and wttm, which soften the teacher's logits alone. Received: "
            f"--method={','.join(names)}. Pass --nostandardize_logits, or another "
            "--method"
        )


def _kd():
    return LogitsKD(**_logits_settings(tasks.current().temperature), name="kd")


def _dist():
    return DIST(**_logits_settings(1.0))


def _dkd():
    return DKD(**_logits_settings(tasks.current().temperature))


def _ttm(**arguments):
    # Pixels, too: its temperature is for the teacher alone, and we measured no other.
    return TTM(
        temperature=_temperature(4.0), weight=tasks.distill_weight(), **arguments
    )


def _afd():
    return AFD(*_taps(), weight=tasks.distill_weight())


def _rtk():
    keys = flags.REPRESENTATIVE_KEYS.value
    return RTK(*_taps(), k=keys, weight=tasks.distill_weight())


def _fitnet():
    return FitNet(
        *_tap(),
        weight=tasks.distill_weight(),
        resize=flags.RESIZE.value,
        name="fitnet",
    )


def _diffkd_features():
    return DiffKD(
        *_tap(),
        latent_channels=flags.LATENT_CHANNELS.value,
        resize=flags.RESIZE.value,
        share_denoiser=flags.SHARE_DENOISER.value,
        seed=flags.SEED.value,
        **_diffkd_settings(),
        name="diffkd_features",
    )


def _diffkd_logits():
    return DiffKD(
        distance="kl",
        temperature=_temperature(1.0),
        standardize_logits=flags.STANDARDIZE_LOGITS.value,
        # The features draw other noise.
        seed=flags.SEED.value + 1,
        **_diffkd_settings(),
        name="diffkd_logits",
    )


def _vkd():
    return VkD(
        *_tap(),
        normalization=tasks.current().vkd_normalization,
        weight=tasks.distill_weight(),
        name="vkd",
    )


def _kdiffusion():
    flags.require("student_convolution")
    return KDiffusion(
        _tap()[0],
        flags.STUDENT_CONVOLUTION.value,
        distill_weight=tasks.distill_weight(),
        resize=flags.RESIZE.value,
        seed=flags.SEED.value,
        name="kdiffusion",
    )


def _dskd():
    return DSKD(
        *_tap(),
        num_inference_steps=flags.NUM_INFERENCE_STEPS.value,
        distill_weight=tasks.distill_weight(),
        denoise_weight=flags.DENOISE_WEIGHT.value,
        resize=flags.RESIZE.value,
        seed=flags.SEED.value,
        name="dskd",
    )


def _diffkd_settings():
    return {
        "num_inference_steps": flags.NUM_INFERENCE_STEPS.value,
        "distill_weight": tasks.distill_weight(),
        "denoise_weight": flags.DENOISE_WEIGHT.value,
        "reconstruction_weight": flags.RECONSTRUCTION_WEIGHT.value,
    }


def _tap():
    """Returns the layers of teacher and student for methods that read one feature."""
    default = tasks.current().tap
    return flags.TEACHER_TAP.value or default, flags.STUDENT_TAP.value or default


def _taps():
    """Returns the layers for methods that read several features."""
    default = tasks.current().taps
    if default is None:
        flags.require("teacher_taps", "student_taps")
    return (
        flags.TEACHER_TAPS.value or list(default),
        flags.STUDENT_TAPS.value or list(default),
    )


def _logits_settings(temperature):
    """Returns the arguments of methods that soften both logits.

    Args:
        temperature: Float, the default without `--standardize_logits`.
    """
    return {
        "temperature": _temperature(temperature),
        "standardize_logits": flags.STANDARDIZE_LOGITS.value,
        "weight": tasks.distill_weight(),
    }


def _temperature(default):
    if flags.STANDARDIZE_LOGITS.value:
        default = 2.0  # Of the authors of LSKD.
    given = flags.TEMPERATURE.value
    return default if given is None else given


METHODS = {
    "none": lambda: [],
    "kd": lambda: [_kd()],
    "dist": lambda: [_dist()],
    "dkd": lambda: [_dkd()],
    "ttm": lambda: [_ttm()],
    "wttm": lambda: [_ttm(weighted=True, name="wttm")],
    "fitnet": lambda: [_fitnet()],
    "afd": lambda: [_afd()],
    "rtk": lambda: [_rtk()],
    "vkd": lambda: [_vkd()],
    "kdiffusion": lambda: [_kdiffusion()],
    "dskd": lambda: [_dskd()],
    "diffkd": lambda: [
        _diffkd_features(),
        *([_diffkd_logits()] if tasks.current().gives_logits else []),
    ],
    "diffkd_features": lambda: [_diffkd_features()],
    "diffkd_logits": lambda: [_diffkd_logits()],
}
# Methods that read the models' outputs.
OF_LOGITS = {"kd", "dist", "dkd", "ttm", "wttm", "diffkd_logits"}
