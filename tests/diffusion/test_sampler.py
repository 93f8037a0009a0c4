import json

import keras
import numpy as np
import pytest
from helpers.gradients import value_and_gradients
from reference import diffkd_numpy as reference

from keras_diffkd.diffusion import DDIMSampler, NoiseSchedule

ALPHAS_CUMPROD = reference.noise_schedule()[1]


@pytest.mark.parametrize(
    ("num_inference_steps", "expected"),
    [
        (1, [0]),
        (2, [250, 0]),
        (3, [332, 166, 0]),
        (5, [400, 300, 200, 100, 0]),
        (10, [450, 400, 350, 300, 250, 200, 150, 100, 50, 0]),
        (500, list(range(499, -1, -1))),
    ],
)
def test_timesteps(num_inference_steps, expected):
    sampler = DDIMSampler(NoiseSchedule(), num_inference_steps)
    assert list(sampler.timesteps) == expected
    assert reference.ddim_timesteps(num_inference_steps) == expected


def test_timesteps_of_a_short_schedule():
    assert list(DDIMSampler(NoiseSchedule(10), 5).timesteps) == [4, 3, 2, 1, 0]
    assert list(DDIMSampler(NoiseSchedule(2), 1).timesteps) == [0]


def test_five_steps_by_default():
    assert len(DDIMSampler(NoiseSchedule()).timesteps) == 5


@pytest.mark.parametrize("num_inference_steps", [0, -1, 501, 1000])
def test_impossible_number_of_steps(num_inference_steps):
    with pytest.raises(ValueError, match=f"Received.*{num_inference_steps}"):
        DDIMSampler(NoiseSchedule(), num_inference_steps)


@pytest.mark.parametrize("num_inference_steps", [1, 2, 5])
def test_step(num_inference_steps):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, 4, 5, 5, 8)).astype("float32")
    sampler = DDIMSampler(NoiseSchedule(), num_inference_steps)
    stride = 1000 // (2 * num_inference_steps)
    for t in sampler.timesteps:
        expected = reference.ddim_step(noise, t, x, stride, ALPHAS_CUMPROD)
        np.testing.assert_allclose(
            sampler.step(noise, t, x), expected, rtol=1e-5, atol=1e-5
        )


def test_last_step_returns_the_clean_sample():
    rng = np.random.default_rng(0)
    clean, noise = rng.normal(size=(2, 4, 8)).astype("float32")
    sampler = DDIMSampler(NoiseSchedule(), 5)
    noisy = reference.add_noise(clean, noise, [0] * 4, ALPHAS_CUMPROD)
    np.testing.assert_allclose(
        sampler.step(noise, 0, noisy.astype("float32")), clean, atol=1e-5
    )


@pytest.mark.parametrize("num_inference_steps", [1, 2, 5, 10])
@pytest.mark.parametrize("shape", [(3, 4, 4, 2), (3, 6)])
def test_perfect_denoiser_recovers_the_clean_sample(num_inference_steps, shape):
    rng = np.random.default_rng(2)
    clean, noise = rng.normal(size=(2, *shape)).astype("float32")
    sampler = DDIMSampler(NoiseSchedule(), num_inference_steps)
    first = [sampler.timesteps[0]] * 3
    noisy = reference.add_noise(clean, noise, first, ALPHAS_CUMPROD)
    result = sampler.sample(lambda x, t: noise, noisy.astype("float32"))
    np.testing.assert_allclose(result, clean, atol=2e-5)


def _library_denoise(x, timesteps):
    x = keras.ops.cast(x, "float32")
    scale = 1.0 + keras.ops.cast(timesteps, "float32") / 1000.0
    return keras.ops.tanh(x) * keras.ops.reshape(scale, (-1, 1, 1, 1))


def _reference_denoise(x, timesteps):
    return np.tanh(x) * (1.0 + timesteps / 1000.0).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize("num_inference_steps", [1, 2, 5, 10])
def test_sample_and_its_gradient(num_inference_steps):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, 3, 4)).astype("float32")
    weights = rng.normal(size=x.shape)

    sampler = DDIMSampler(NoiseSchedule(), num_inference_steps)

    def weighted_sum(x):
        actual = sampler.sample(_library_denoise, x)
        weighted = keras.ops.multiply(actual, weights.astype("float32"))
        return keras.ops.sum(weighted), actual

    (_, actual), (actual_gradient,), _ = value_and_gradients(weighted_sum, [x])

    def sample(x):
        return reference.ddim_sample(
            _reference_denoise, x, ALPHAS_CUMPROD, num_inference_steps
        )

    np.testing.assert_allclose(actual, sample(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        actual_gradient,
        reference.gradient(lambda x: (weights * sample(x)).sum(), x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_denoise_is_called_once_per_step_with_one_timestep_per_sample():
    calls = []

    def denoise(x, timesteps):
        assert keras.backend.standardize_dtype(timesteps.dtype) == "int32"
        calls.append(keras.ops.convert_to_numpy(timesteps).tolist())
        return x

    DDIMSampler(NoiseSchedule(), 2).sample(denoise, np.ones((3, 4), "float32"))
    assert calls == [[250] * 3, [0] * 3]


@pytest.mark.backend("tensorflow")
def test_samples_inside_a_graph_with_unknown_batch_size():
    import tensorflow as tf

    sampler = DDIMSampler(NoiseSchedule(), 2)
    sample = tf.function(
        lambda x: sampler.sample(_library_denoise, x),
        input_signature=[tf.TensorSpec((None, 3, 3, 4), "float32")],
    )
    x = np.random.default_rng(4).normal(size=(3, 3, 3, 4)).astype("float32")
    expected = reference.ddim_sample(_reference_denoise, x, ALPHAS_CUMPROD, 2)
    np.testing.assert_allclose(sample(x), expected, rtol=1e-5, atol=1e-5)


def test_half_precision_is_denoised_in_float32():
    x = np.random.default_rng(5).normal(size=(3, 3, 3, 4)).astype("float16")
    sampler = DDIMSampler(NoiseSchedule(), 5)
    actual = sampler.sample(_library_denoise, keras.ops.convert_to_tensor(x))
    assert keras.backend.standardize_dtype(actual.dtype) == "float32"
    expected = sampler.sample(_library_denoise, x.astype("float32"))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_serializes():
    sampler = DDIMSampler(NoiseSchedule(50, 0.001, 0.3), num_inference_steps=3)
    serialized = keras.saving.serialize_keras_object(sampler)
    assert serialized["registered_name"] == "keras_diffkd>DDIMSampler"
    x = np.ones((2, 4), "float32")
    expected = sampler.sample(lambda x, t: 0.5 * x, x)
    for copy in (
        DDIMSampler.from_config(sampler.get_config()),
        keras.saving.deserialize_keras_object(json.loads(json.dumps(serialized))),
    ):
        assert copy.get_config() == sampler.get_config()
        assert copy.timesteps == [16, 8, 0]
        np.testing.assert_array_equal(copy.sample(lambda x, t: 0.5 * x, x), expected)
