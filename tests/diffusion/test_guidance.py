import keras
import numpy as np

from keras_diffkd.diffusion import DDIMSampler, NoiseSchedule, guided


def test_value(rng):
    schedule = NoiseSchedule(50)
    x = rng.normal(size=(3, 2, 2, 4)).astype("float32")
    timesteps = np.array([0, 20, 49])
    denoise = guided(lambda x, t: 3 * x, lambda x: x**2, schedule, scale=0.7)
    ours = denoise(keras.ops.convert_to_tensor(x), timesteps)
    alphas = np.cumprod(1 - np.linspace(1e-4, 0.02, 50))[timesteps]
    sigma = np.sqrt(1 - alphas)[:, None, None, None]
    np.testing.assert_allclose(ours, 3 * x - 0.7 * sigma * x**2, rtol=1e-4, atol=1e-6)


def test_sampling_climbs(rng):
    """Guided by log p = -|x - m|² / 2, samples end closer to m."""
    schedule = NoiseSchedule()
    sampler = DDIMSampler(schedule, 5)
    goal = rng.normal(size=(1, 6)).astype("float32")
    x = keras.ops.array(rng.normal(size=(8, 6)), "float32")
    towards = keras.ops.convert_to_tensor(goal)

    def distance(scale):
        denoise = guided(lambda x, t: 0.1 * x, lambda x: towards - x, schedule, scale)
        return float(np.mean((np.array(sampler.sample(denoise, x)) - goal) ** 2))

    assert distance(1.0) < 0.7 * distance(0.0)
