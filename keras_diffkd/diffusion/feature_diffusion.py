"""A diffusion model of features: all of it in one layer."""

import keras

from keras_diffkd.diffusion.denoiser import Denoiser, check_num_train_timesteps
from keras_diffkd.diffusion.guidance import guided
from keras_diffkd.diffusion.noise import normal_noise
from keras_diffkd.diffusion.noise_adapter import NoiseAdapter
from keras_diffkd.diffusion.sampler import DDIMSampler
from keras_diffkd.diffusion.schedule import NoiseSchedule
from keras_diffkd.losses import mean_squared_error
from keras_diffkd.validation.arguments import check_choice, check_number, check_seed


@keras.saving.register_keras_serializable(package="keras_diffkd")
class FeatureDiffusion(keras.layers.Layer):
    """Learns clean features, and denoises other features toward them.

    `loss` trains the model on clean features. `denoise` mixes a feature with noise,
    `γ x + (1 - γ) ε`, and runs the sampler from the middle of the schedule.

    Args:
        kernel_size: `"auto"` (1 for vectors, 3 for everything else), 3 or 1.
        num_inference_steps: Integer, DDIM steps of `denoise`.
        num_train_timesteps: Integer, length of the noise schedule, 2 to 1280.
        gamma: Float in (0, 1], the weight γ of the feature in its mix with noise; 1
            adds no noise. `None`: a `NoiseAdapter` predicts γ for each sample.
        seed: Integer seed of the noise, or `None`.
        name: Optional name of the layer.

    Raises:
        ValueError: If an argument is outside its range.

    Example:

    >>> diffusion = FeatureDiffusion(num_inference_steps=5)
    >>> diffusion.build((None, 4, 4, 8))
    >>> teacher, student = keras.random.normal((2, 2, 4, 4, 8))
    >>> loss = diffusion.loss(teacher, training=True)
    >>> denoised, gamma = diffusion.denoise(student)
    >>> denoised.shape, gamma.shape
    (TensorShape([2, 4, 4, 8]), TensorShape([2]))

    Source: DiffKD (arXiv 2305.15712), sections 3.2 to 3.4, and the authors' code.
    """

    def __init__(
        self,
        kernel_size="auto",
        num_inference_steps=5,
        num_train_timesteps=1000,
        *,
        gamma=None,
        seed=None,
        name=None,
    ):
        super().__init__(name=name, dtype="float32")
        check_choice("kernel_size", kernel_size, ("auto", 1, 3))
        check_num_train_timesteps(num_train_timesteps)
        if gamma is not None:
            check_number("gamma", gamma, above=0, most=1)
        check_seed(seed)
        self.kernel_size = kernel_size
        self.num_inference_steps = num_inference_steps
        self.num_train_timesteps = num_train_timesteps
        self.gamma = gamma
        self.seed = seed
        self.schedule = NoiseSchedule(num_train_timesteps)
        self.sampler = DDIMSampler(self.schedule, num_inference_steps)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.denoiser = None

    def share_denoiser(self, other):
        """Uses the denoiser of another `FeatureDiffusion`. Call it before `build`."""
        self.denoiser = other.denoiser

    def build(self, input_shape, is_vector=False):
        """Creates the networks.

        Args:
            input_shape: Shape tuple of the features, channels last: a map, a sequence,
                or a map of three dimensions.
            is_vector: Whether the features are vectors, as maps of one pixel.

        Raises:
            ValueError: If a shared denoiser has another number of channels.
        """
        *_, channels = input_shape
        rank = len(input_shape) - 2
        kernel_size = self.kernel_size
        if kernel_size == "auto":
            kernel_size = 1 if is_vector else 3
        if self.gamma is None:
            self.noise_adapter = NoiseAdapter(
                channels, kernel_size, rank=rank, name="noise_adapter"
            )
            self.noise_adapter.build(input_shape)
        if self.denoiser is None:
            self.denoiser = Denoiser(channels, kernel_size, rank=rank, name="denoiser")
            self.denoiser.build(input_shape, (None,))
        elif self.denoiser.channels != channels:
            raise ValueError(
                "A shared denoiser needs as many channels at every level. Received: "
                f"{self.denoiser.channels} and {channels}. Pass `latent_channels`, "
                "or `share_denoiser=False`."
            )

    def denoise(
        self, x, noise=None, *, gradient=None, guidance_scale=1.0, training=False
    ):
        """Denoises features.

        Args:
            x: float32 tensor of the shape that the layer was built for.
            noise: Optional float tensor with as many values as `x`, drawn from N(0, 1):
                the noise ε of the mix.
            gradient: Optional callable that maps `x` to the gradient of
                `log p(label | x)`: every step follows it. See `guided`.
            guidance_scale: Float, the weight of this gradient.
            training: Whether batch normalization uses batch statistics.

        Returns:
            The denoised float32 tensor, and γ: a tensor of shape `(batch,)`, or the
            float that the layer was made with.
        """
        x, gamma = self._mixed(keras.ops.cast(x, "float32"), noise, training)

        def predict(x, timesteps):
            # All are the same: one embedding for the batch is cheaper than one each.
            return self.denoiser(x, timesteps[:1], training=training)

        if gradient is not None:
            predict = guided(predict, gradient, self.schedule, guidance_scale)
        return self.sampler.sample(predict, x), gamma

    def loss(self, clean, noise=None, timesteps=None, *, training=False):
        """Computes the mean squared error of the predicted noise.

        Args:
            clean: float32 tensor of the shape that the layer was built for.
            noise: Optional float tensor with as many values as `clean`, drawn from
                N(0, 1).
            timesteps: Optional integer tensor `(batch,)` in
                `[0, num_train_timesteps)`.
            training: Whether batch normalization uses batch statistics.

        Returns:
            float32 scalar.
        """
        noise = self._noise_like(clean, noise)
        if timesteps is None:
            timesteps = keras.random.randint(
                keras.ops.shape(clean)[:1],
                0,
                self.num_train_timesteps,
                seed=self.seed_generator,
            )
        noisy = self.schedule.add_noise(clean, noise, timesteps)
        predicted = self.denoiser(noisy, timesteps, training=training)
        return mean_squared_error(noise, predicted)

    def _mixed(self, x, noise, training):
        """Returns `γ x + (1 - γ) ε`, and γ."""
        if self.gamma == 1:
            return x, self.gamma
        gamma = weight = self.gamma
        if gamma is None:
            gamma = self.noise_adapter(x, training=training)
            weight = keras.ops.reshape(gamma, (-1,) + (1,) * (len(x.shape) - 1))
        noise = self._noise_like(x, noise)
        return weight * x + (1.0 - weight) * noise, gamma

    def _noise_like(self, x, given):
        if given is not None:
            return keras.ops.reshape(
                keras.ops.cast(given, "float32"), keras.ops.shape(x)
            )
        return normal_noise(keras.ops.shape(x), self.seed_generator)

    def get_config(self):
        return {
            "kernel_size": self.kernel_size,
            "num_inference_steps": self.num_inference_steps,
            "num_train_timesteps": self.num_train_timesteps,
            "gamma": self.gamma,
            "seed": self.seed,
            "name": self.name,
        }
