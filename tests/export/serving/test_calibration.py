import numpy as np

from keras_diffkd.export.serving.calibration import (
    calibration_warnings,
    describe_ranges,
    read_calibration,
)
from keras_diffkd.export.serving.samples import read_samples
from keras_diffkd.export.serving.serving import Serving


def test_given_samples(student, images):
    serving = Serving(student)
    samples = read_samples(serving, images)

    calibration = read_calibration(serving, (images[:5], None), samples)

    np.testing.assert_array_equal(calibration.inputs["image"], images[:5])
    assert describe_ranges(calibration, None) == {
        "ranges_from": "calibrated on 5 samples",
        "calibration": {"num_samples": 5, "samples": "given"},
    }
    assert calibration_warnings(calibration) == []


def test_the_samples_by_default_evenly_spaced(student, images):
    serving = Serving(student)
    samples = read_samples(serving, np.tile(images, (4, 1, 1, 1)))

    calibration = read_calibration(serving, None, samples)

    assert len(calibration) == 256
    first, last = calibration.inputs["image"][[0, -1]]
    np.testing.assert_array_equal(first, images[0])
    np.testing.assert_array_equal(last, images[-1])
    assert calibration.origin == "the samples that are verified on"


def test_random_ones_are_warned_of(student):
    serving = Serving(student)
    calibration = read_calibration(serving, None, read_samples(serving, None))
    assert calibration.origin.startswith("random")
    [warning] = calibration_warnings(calibration)
    assert "pass `samples` or `calibration_samples`" in warning
