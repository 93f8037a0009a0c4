"""The inputs from which a quantizer learns the ranges of activations."""

import dataclasses
import math

import numpy as np

from .samples import Samples, are_inputs, read_samples
from .sizes import unknown_axes

LEARNED = "learned in training"
MAX_SAMPLES = 256
MAX_BYTES = 2**28
RANDOM_WARNING = (
    "the activations were calibrated on random inputs, whose ranges are not those of "
    "real ones: pass `samples` or `calibration_samples`"
)


def read_calibration_samples(serving, calibration_samples):
    """Returns samples to verify on where the calibration samples are the only ones.

    Random inputs would be worse: a quantized file that is good on images is not on
    noise.

    Args:
        serving: `Serving`.
        calibration_samples: inputs as `samples` of `verify` without targets.

    Returns:
        `Samples`.

    Example:

    ```python
    read_calibration_samples(serving, images).origin  # "the calibration samples"
    ```
    """
    found = _read_inputs(serving, calibration_samples)
    return dataclasses.replace(found, origin="the calibration samples")


def read_calibration(serving, calibration_samples, samples):
    """Checks the user's calibration samples, or takes some of the samples.

    Args:
        serving: `Serving`.
        calibration_samples: inputs as `samples` of `verify` without targets, or None
            for up to 256 of `samples`, evenly spaced.
        samples: `Samples` to verify on.

    Returns:
        `Samples` without targets, whose origin says where they are from.

    Example:

    ```python
    read_calibration(serving, None, samples).origin  # "256 of the samples"
    ```
    """
    if calibration_samples is not None:
        given = _read_inputs(serving, calibration_samples)
        for name in unknown_axes(serving.inputs):
            found, expected = (s.inputs[name].shape[1:] for s in (given, samples))
            if found != expected:
                raise ValueError(
                    "Expected the calibration samples to have the size of the samples, "
                    f"{expected} for the input '{name}'. Received: {found}"
                )
        return _thin(given, "given")
    if samples.is_random:
        return _thin(samples, samples.origin)
    return _thin(samples, "the samples that are verified on")


def _read_inputs(serving, calibration_samples):
    """Reads calibration samples without the targets that may come with them."""
    given = calibration_samples
    if isinstance(given, tuple) and given and not are_inputs(serving, given):
        given = given[0]
    try:
        return read_samples(serving, given)
    except ValueError as error:
        raise ValueError(f"`calibration_samples` cannot be used. {error}") from error


def describe_ranges(calibration, ranges):
    """Describes for the manifest where the ranges of activations are from.

    Args:
        calibration: `Samples`, or None if training has learned the ranges.
        ranges: `keras_diffkd.quantization.QuantizationRanges` or None.

    Example:

    ```python
    describe_ranges(None, ranges)["ranges_from"]  # "learned in training"
    describe_ranges(calibration, None)["ranges_from"]  # "calibrated on 256 samples"
    ```
    """
    if ranges is not None:
        return {"ranges_from": LEARNED, "ranges": ranges.to_json()}
    return {
        "ranges_from": f"calibrated on {len(calibration)} samples",
        "calibration": {
            "num_samples": len(calibration),
            "samples": calibration.origin,
        },
    }


def calibration_warnings(calibration):
    """Returns warnings for the manifest, a list of strings.

    Example:

    ```python
    calibration_warnings(calibration)  # []
    ```
    """
    return [RANDOM_WARNING] if calibration.origin.startswith("random") else []


def _thin(samples, origin):
    one = sum(array.nbytes for array in samples.batch(0, 1).values())
    count = min(len(samples), MAX_SAMPLES, max(1, math.floor(MAX_BYTES / one)))
    chosen = np.linspace(0, len(samples) - 1, count).round().astype(int)
    inputs = {name: array[chosen] for name, array in samples.inputs.items()}
    return Samples(inputs, None, origin)
