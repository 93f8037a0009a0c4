"""Classifier guidance: leads the denoising toward a class."""


def guided(denoise, gradient, schedule, scale):
    """Returns a noise prediction that leads toward a class.

    `e'(x, t) = e(x, t) - s sqrt(1 - ᾱ_t) ∇_x log p(y | x)`.

    Args:
        denoise: Callable `(x, timesteps) -> noise prediction`, as for
            `DDIMSampler.sample`.
        gradient: Callable that maps `x` to the gradient of `log p(y | x)`, a tensor
            like `x`.
        schedule: The `NoiseSchedule`.
        scale: Float `s`.

    Returns:
        Callable `(x, timesteps) -> noise prediction`.

    Example:

    >>> schedule = keras_diffkd.diffusion.NoiseSchedule()
    >>> toward_one = guided(
    ...     lambda x, timesteps: 0.0 * x, lambda x: 1.0 - x, schedule, scale=2.0)
    >>> toward_one(keras.ops.zeros((1, 3)), keras.ops.array([999])).shape
    TensorShape([1, 3])

    Source: Diffusion Models Beat GANs on Image Synthesis (arXiv 2105.05233,
    algorithm 2).
    """

    def denoise_toward_class(x, timesteps):
        _, sigma = schedule.scales(timesteps, len(x.shape))
        return denoise(x, timesteps) - scale * sigma * gradient(x)

    return denoise_toward_class
