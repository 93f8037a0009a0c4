"""The noise schedule of the diffusion process."""

import keras
import numpy as np

from keras_diffkd.validation.arguments import check_integer, check_number


@keras.saving.register_keras_serializable(package="keras_diffkd")
class NoiseSchedule:
    """Sets how much noise each timestep has, by a linear schedule.

    `beta` rises linearly over the timesteps. `alphas_cumprod[t]` is the product of
    `1 - beta` up to and including `t`: the part of the signal's variance that is left
    at timestep `t`.

    Args:
        num_train_timesteps: Integer `T >= 1`, length of the process.
        beta_start: Float in (0, 1), variance added at timestep 0.
        beta_end: Float in (0, 1), at least `beta_start`: variance added at the
            last timestep.

    Attributes:
        betas: float64 NumPy array of shape `(num_train_timesteps,)`.
        alphas_cumprod: float64 NumPy array of shape `(num_train_timesteps,)`.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    >>> schedule = NoiseSchedule()
    >>> round(float(schedule.alphas_cumprod[400]), 4)
    0.1936
    >>> x = keras.ops.ones((2, 4, 4, 8))
    >>> schedule.add_noise(x, keras.ops.zeros_like(x), keras.ops.array([0, 999])).shape
    TensorShape([2, 4, 4, 8])

    Source: DiffKD (arXiv 2305.15712), the linear schedule of DDPM
    (arXiv 2006.11239, section 4).
    """

    def __init__(self, num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02):
        check_integer("num_train_timesteps", num_train_timesteps, 1)
        check_number("beta_start", beta_start)
        check_number("beta_end", beta_end)
        if not 0 < beta_start <= beta_end < 1:
            raise ValueError(
                "The schedule needs 0 < beta_start <= beta_end < 1. "
                f"Received: beta_start={beta_start}, beta_end={beta_end}"
            )
        self.num_train_timesteps = int(num_train_timesteps)
        self.beta_start = beta_start
        self.beta_end = beta_end
        self.betas = np.linspace(beta_start, beta_end, self.num_train_timesteps)
        self.alphas_cumprod = np.cumprod(1.0 - self.betas)

    def add_noise(self, x, noise, timesteps):
        """Adds noise: `sqrt(ᾱ_t) x + sqrt(1 - ᾱ_t) noise`.

        Args:
            x: Float tensor of shape `(batch, ...)`, the clean values.
            noise: Tensor like `x`, drawn from N(0, 1).
            timesteps: Integer tensor of shape `(batch,)`, one per sample.

        Returns:
            float32 tensor of the shape of `x`.
        """
        x = keras.ops.cast(x, "float32")
        noise = keras.ops.cast(noise, "float32")
        signal, sigma = self.scales(timesteps, len(x.shape))
        return signal * x + sigma * noise

    def scales(self, timesteps, rank):
        """Returns the factors `sqrt(ᾱ_t)` and `sqrt(1 - ᾱ_t)` of samples.

        Args:
            timesteps: Integer tensor of shape `(batch,)`.
            rank: Integer, the number of axes of the samples, the batch's included.

        Returns:
            Two float32 tensors of shape `(batch, 1, ...)`.
        """
        per_sample = (-1,) + (1,) * (rank - 1)
        return [
            keras.ops.reshape(
                keras.ops.take(
                    keras.ops.cast(np.sqrt(table), "float32"), timesteps, axis=0
                ),
                per_sample,
            )
            for table in (self.alphas_cumprod, 1.0 - self.alphas_cumprod)
        ]

    def get_config(self):
        return {
            "num_train_timesteps": self.num_train_timesteps,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)
