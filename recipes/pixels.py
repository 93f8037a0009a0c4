"""Reads `--normalization`, and gives a data set the one that a student takes."""

import dataclasses

from absl import flags as absl_flags

from keras_diffkd.export.serving.pixels import Preprocessing

_RANGES = {
    "0_to_1": ("0", "1"),
    "-1_to_1": ("0.5", "0.5"),
    "0_to_255": ("0", repr(1 / 255)),
}
NORMALIZATION = absl_flags.DEFINE_string(
    "normalization",
    None,
    "How the --student of a file takes pixels of 0 to 255: 0_to_1, -1_to_1, 0_to_255 "
    "(as they are), or MEAN:STD of pixels scaled to 0..1, one number or one for each "
    "channel: 0.485,0.456,0.406:0.229,0.224,0.225; unset: as the commands normalize "
    "--dataset.",
)


def read_normalization():
    """Returns `--normalization` as a dict for `export_student`, or None if it is unset.

    Raises:
        ValueError: if it is none of what its help says.
    """
    text = NORMALIZATION.value
    if text is None:
        return None
    parts = _RANGES.get(text) or tuple(text.split(":"))
    try:
        mean, std = ([float(number) for number in part.split(",")] for part in parts)
        found = {"mean": mean, "std": std, "input_range": [0, 255]}
        Preprocessing.of(found)
    except ValueError:
        raise ValueError(
            f"--normalization must be one of {', '.join(_RANGES)}, or MEAN:STD with as "
            "many positive numbers in STD as numbers in MEAN, such as 0.5:0.25. "
            f"Received: --normalization={text}"
        ) from None
    return found


def describe(normalization):
    """Returns a normalization in a few words, for a line of the command."""
    mean, std = (
        ",".join(f"{value:.4g}" for value in normalization[key])
        for key in ("mean", "std")
    )
    return f"(pixel / 255 - {mean}) / {std}"


def renormalized(data, normalization):
    """Returns a data set whose images are normalized as a student takes them.

    Args:
        data: data set from `load_data`.
        normalization: dict of `export_student`, or None for that of the data set.
    """
    if normalization is None:
        return data
    before, after = (
        Preprocessing.of(data.normalization),
        Preprocessing.of(normalization),
    )
    scale = before.std / after.std
    shift = (before.mean - after.mean) / after.std

    def convert(image, *rest):
        return (image * scale.astype("float32") + shift.astype("float32"), *rest)

    return dataclasses.replace(
        data,
        train=data.train.map(convert),
        test=data.test.map(convert),
        normalization=normalization,
    )
