import json

import keras
import numpy as np
import pytest
from reference import diffkd_numpy as reference

from keras_diffkd.diffusion import NoiseSchedule


@pytest.mark.parametrize(
    "arguments", [(), (1000, 1e-4, 0.02), (50, 1e-3, 0.3), (2, 0.1, 0.2)]
)
def test_betas_and_alphas_cumprod(arguments):
    schedule = NoiseSchedule(*arguments)
    betas, alphas_cumprod = reference.noise_schedule(*arguments)
    np.testing.assert_allclose(schedule.betas, betas, rtol=1e-6)
    np.testing.assert_allclose(schedule.alphas_cumprod, alphas_cumprod, rtol=1e-5)


def test_schedule_of_the_paper():
    schedule = NoiseSchedule()
    assert len(schedule.betas) == len(schedule.alphas_cumprod) == 1000
    assert schedule.betas[0] == pytest.approx(1e-4)
    assert schedule.betas[-1] == pytest.approx(0.02)
    assert schedule.alphas_cumprod[0] == pytest.approx(1 - 1e-4)
    # Known from the literature (DDPM, linear betas).
    assert schedule.alphas_cumprod[-1] == pytest.approx(4.0358e-5, rel=1e-4)


@pytest.mark.parametrize("shape", [(4, 5, 5, 8), (4, 8)])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_add_noise(shape, dtype):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, *shape)).astype("float32")
    timesteps = np.array([0, 999, 400, 17], dtype)
    _, alphas_cumprod = reference.noise_schedule()
    actual = NoiseSchedule().add_noise(
        keras.ops.convert_to_tensor(x), noise, keras.ops.convert_to_tensor(timesteps)
    )
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    np.testing.assert_allclose(
        actual,
        reference.add_noise(x, noise, timesteps, alphas_cumprod),
        rtol=1e-5,
        atol=1e-6,
    )


def test_add_noise_keeps_the_variance():
    rng = np.random.default_rng(1)
    x, noise = rng.normal(size=(2, 5, 40_000)).astype("float32")
    noisy = NoiseSchedule().add_noise(x, noise, np.array([0, 100, 400, 700, 999]))
    np.testing.assert_allclose(np.array(noisy).var(axis=1), 1.0, atol=0.03)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_train_timesteps": 0},
        {"num_train_timesteps": -5},
        {"beta_start": 0.0},
        {"beta_start": -0.1},
        {"beta_end": 1.0},
        {"beta_start": 0.03, "beta_end": 0.02},
    ],
)
def test_impossible_schedules_are_refused(arguments):
    with pytest.raises(ValueError, match="Received"):
        NoiseSchedule(**arguments)


def test_half_precision_is_noised_in_float32():
    x = np.random.default_rng(0).normal(size=(4, 8)).astype("float16")
    x, noise = keras.ops.convert_to_tensor(x), keras.ops.ones((4, 8))
    timesteps = np.array([0, 10, 400, 999])
    schedule = NoiseSchedule()
    actual = schedule.add_noise(x, noise, timesteps)
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    expected = schedule.add_noise(keras.ops.cast(x, "float32"), noise, timesteps)
    np.testing.assert_array_equal(actual, expected)


def test_serializes():
    schedule = NoiseSchedule(50, beta_start=0.001, beta_end=0.3)
    serialized = keras.saving.serialize_keras_object(schedule)
    assert serialized["registered_name"] == "keras_diffkd>NoiseSchedule"
    for copy in (
        NoiseSchedule.from_config(schedule.get_config()),
        keras.saving.deserialize_keras_object(json.loads(json.dumps(serialized))),
    ):
        assert copy.get_config() == schedule.get_config()
        np.testing.assert_array_equal(copy.betas, schedule.betas)
