import keras
import numpy as np
import pytest

from keras_diffkd.diffusion import FeatureDiffusion

SHAPE = (4, 3, 3, 8)


def built(shape=SHAPE, **arguments):
    diffusion = FeatureDiffusion(**arguments)
    diffusion.build((None, *shape[1:]))
    return diffusion


def feature(rng, shape=SHAPE):
    return rng.normal(size=shape).astype("float32")


def test_the_loss_is_the_error_of_the_predicted_noise(rng):
    diffusion = built(num_train_timesteps=50)
    clean, noise = feature(rng), feature(rng)
    timesteps = np.array([0, 10, 30, 49])
    alphas = np.cumprod(1 - np.linspace(1e-4, 0.02, 50))[timesteps, None, None, None]
    noisy = np.sqrt(alphas) * clean + np.sqrt(1 - alphas) * noise
    predicted = diffusion.denoiser(noisy.astype("float32"), timesteps)
    np.testing.assert_allclose(
        diffusion.loss(clean, noise, timesteps),
        np.mean((keras.ops.convert_to_numpy(predicted) - noise) ** 2),
        rtol=1e-4,
    )


def test_gamma_mixes_the_feature_with_noise(rng):
    x, noise = feature(rng), feature(rng)
    mixing = built(gamma=0.7)
    plain = built(gamma=1.0)
    plain.set_weights(mixing.get_weights())
    denoised, gamma = mixing.denoise(x, noise)
    expected, one = plain.denoise(0.7 * x + (1 - 0.7) * noise)
    assert (gamma, one) == (0.7, 1.0)
    np.testing.assert_allclose(denoised, expected, rtol=1e-4, atol=1e-5)
    # Nothing is drawn where nothing is mixed.
    np.testing.assert_array_equal(plain.denoise(x)[0], plain.denoise(x, noise)[0])


def test_gamma_is_predicted_for_each_sample(rng):
    diffusion = built()
    x = feature(rng)
    _, gamma = diffusion.denoise(x)
    np.testing.assert_allclose(gamma, diffusion.noise_adapter(x), rtol=1e-6)


def test_denoising_follows_a_gradient(rng):
    diffusion = built(gamma=1.0)
    x, goal = feature(rng), feature(rng)

    def distance(**guidance):
        denoised, _ = diffusion.denoise(x, **guidance)
        return np.mean((keras.ops.convert_to_numpy(denoised) - goal) ** 2)

    def towards(x):
        return keras.ops.convert_to_tensor(goal) - x

    assert distance(gradient=towards) < distance()
    assert distance(gradient=towards, guidance_scale=0.0) == pytest.approx(distance())


def test_a_seed_repeats_every_draw(rng):
    x = feature(rng)
    first, second, other = built(seed=3), built(seed=3), built(seed=4)
    for diffusion in (second, other):
        diffusion.denoiser.set_weights(first.denoiser.get_weights())
        diffusion.noise_adapter.set_weights(first.noise_adapter.get_weights())
    losses = [np.array([d.loss(x) for _ in range(2)]) for d in (first, second, other)]
    assert losses[0][0] != losses[0][1]
    np.testing.assert_array_equal(losses[0], losses[1])
    assert np.all(losses[0] != losses[2])
    np.testing.assert_array_equal(first.denoise(x)[0], second.denoise(x)[0])


def test_vectors_get_networks_of_kernel_size_one():
    diffusion = FeatureDiffusion()
    diffusion.build((None, 1, 1, 10), is_vector=True)
    assert diffusion.denoiser.kernel_size == 1
    assert diffusion.noise_adapter.kernel_size == 1
    assert built().denoiser.kernel_size == 3
    assert built((4, 5, 8)).denoiser.rank == 1


def test_a_denoiser_may_be_shared():
    first, second = built(), FeatureDiffusion()
    second.share_denoiser(first)
    second.build((None, 6, 6, 8))
    assert second.denoiser is first.denoiser
    narrow = FeatureDiffusion()
    narrow.share_denoiser(first)
    with pytest.raises(ValueError, match="Received: 8 and 16"):
        narrow.build((None, 3, 3, 16))


def test_config_round_trip():
    diffusion = FeatureDiffusion(1, 3, 100, gamma=0.5, seed=2, name="mine")
    config = keras.saving.serialize_keras_object(diffusion)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == diffusion.get_config()
    assert copy.sampler.timesteps == diffusion.sampler.timesteps == [32, 16, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"gamma": 1.5}, "gamma=1.5"),
        ({"kernel_size": 5}, "kernel_size=5"),
        ({"num_inference_steps": 501}, "in 1 to 500"),
        ({"num_train_timesteps": 2000}, "at most 1280"),
        ({"seed": 0.5}, "seed=0.5"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        FeatureDiffusion(**arguments)
