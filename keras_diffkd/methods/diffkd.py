"""DiffKD: denoise the student's feature before comparing it."""

import types

import keras

from keras_diffkd.diffusion import (
    DDIMSampler,
    Denoiser,
    LinearAutoencoder,
    NoiseAdapter,
    NoiseSchedule,
)
from keras_diffkd.diffusion.denoiser import check_num_train_timesteps
from keras_diffkd.layers.torch_like import batch_normalization, dense
from keras_diffkd.losses import mean_squared_error
from keras_diffkd.methods.comparable import check_feature_kind, kinds_of
from keras_diffkd.methods.distance import OF_LOGITS, check_distance, distance_between
from keras_diffkd.methods.feature_maps import (
    as_map,
    check_interpolation,
    check_same_grid,
    describe_projection,
    map_shape,
    resize_to,
)
from keras_diffkd.methods.pyramid import PyramidMethod
from keras_diffkd.training.loss_weights import serialized
from keras_diffkd.validation.arguments import (
    check_choice,
    check_integer,
    check_seed,
    check_weight,
)

# An overcomplete linear autoencoder is legal (the paper's ImageNet set-up has
# 1024 latent channels on 512), but beyond this factor it is a slip of the pen.
LARGEST_EXPANSION = 4


@keras.saving.register_keras_serializable(package="keras_diffkd")
class DiffKD(PyramidMethod):
    """Knowledge diffusion: a student's feature is a noisy teacher's feature.

    A small diffusion model is trained on the teacher's features (compressed by
    a linear autoencoder if `latent_channels` is given) and denoises the
    student's projected feature in `num_inference_steps` DDIM steps; the result
    is compared with the teacher's. Everything is trained together with the
    student and dropped by `Distiller.strip`.

    Args:
        teacher_tap: `None` (the output) or the layer of the teacher's feature: a
            map `(batch, height, width, channels)`, tokens
            `(batch, tokens, channels)` in a square grid, a sequence
            `(batch, timesteps, channels)`, which is denoised over time, a map of
            three dimensions `(batch, depth, height, width, channels)`, or a vector
            `(batch, channels)`. A layer that gives a dictionary of maps (a feature
            pyramid), or a list of layers: each level is denoised and compared on
            its own, and losses are means over the levels.
        student_tap: The same for the student; channels may differ.
        latent_channels: Integer, channels of the autoencoder's latent; `None`
            for no autoencoder. Not for vectors.
        kernel_size: `"auto"` (1 for vectors, 3 for everything else), 3 or 1.
        num_inference_steps: Integer, DDIM steps from the middle of the schedule.
        num_train_timesteps: Integer, length of the noise schedule, 2 to 1280.
        adapt_noise: Whether to mix the student's feature with noise by a
            predicted weight γ before denoising.
        distance: `"mse"`, `"kl"`, `"dist"`, `"dkd"`, a `keras.losses.Loss`, or a
            callable `(teacher, student) -> tensor`, between the teacher's
            feature and the denoised student's.
        temperature: Positive float, of the distances `"kl"`, `"dist"`, `"dkd"`.
        denoise_weight: Float or schedule, weight of the diffusion model's own loss.
        reconstruction_weight: Float or schedule, weight of the autoencoder's own loss.
        distill_weight: Float or schedule, weight of the distance.
        resize: `None`, `"nearest"` or `"bilinear"`: how to bring the student's
            map or sequence to the teacher's size if they differ; over time,
            `"bilinear"` is linear.
        feature_kind: `"auto"`, `"tokens"` (of a square map) or `"sequence"`: what
            features of three axes are. `"auto"` reads it off the tapped layers.
        share_denoiser: Whether all levels of a pyramid share one diffusion model;
            projections, autoencoders and noise adapters are each level's own.
        seed: Integer seed of the noise, or `None`.
        name: String, prefix of the logs.

    Losses: `distill`, `denoise` and, with an autoencoder, `reconstruct`.
    Logged beside them: `gamma`, the mean of γ (1 means: no noise is added).

    Raises:
        ValueError: If an argument is outside its range, or in `build`, if the
            features cannot be compared.

    Example:

    >>> method = DiffKD("features", "features", latent_channels=8)
    >>> method.build((None, 4, 4, 16), (None, 4, 4, 8))
    >>> losses = method.compute_losses(
    ...     keras.ops.ones((2, 4, 4, 16)), keras.ops.ones((2, 4, 4, 8)))
    >>> sorted(losses)
    ['denoise', 'distill', 'gamma', 'reconstruct']

    Source: Knowledge Diffusion for Distillation (NeurIPS 2023,
    arXiv 2305.15712) and the authors' code. `resize`, `share_denoiser` and the
    denoiser of sequences and of maps of three dimensions are ours.
    """

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        latent_channels=None,
        kernel_size="auto",
        num_inference_steps=5,
        num_train_timesteps=1000,
        adapt_noise=True,
        distance="mse",
        temperature=1.0,
        denoise_weight=1.0,
        reconstruction_weight=1.0,
        distill_weight=1.0,
        resize=None,
        feature_kind="auto",
        share_denoiser=False,
        seed=None,
        name="diffkd",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_distance(distance, temperature)
        check_interpolation(resize)
        check_feature_kind(feature_kind)
        if latent_channels is not None:
            latent_channels = check_integer("latent_channels", latent_channels, 1)
        check_choice("kernel_size", kernel_size, ("auto", 1, 3))
        check_num_train_timesteps(num_train_timesteps)
        check_weight("denoise_weight", denoise_weight)
        check_weight("reconstruction_weight", reconstruction_weight)
        check_weight("distill_weight", distill_weight)
        check_seed(seed)
        self.latent_channels = latent_channels
        self.kernel_size = kernel_size
        self.num_inference_steps = num_inference_steps
        self.num_train_timesteps = num_train_timesteps
        self.adapt_noise = adapt_noise
        self.distance = distance
        self.temperature = temperature
        self.denoise_weight = denoise_weight
        self.reconstruction_weight = reconstruction_weight
        self.distill_weight = distill_weight
        self.resize = resize
        self.feature_kind = feature_kind
        self.share_denoiser = share_denoiser
        self.seed = seed
        self._given = types.SimpleNamespace(denoiser=None)
        self.schedule = NoiseSchedule(num_train_timesteps)
        self.sampler = DDIMSampler(self.schedule, num_inference_steps)
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def expects_logits(self):
        return self.distance in OF_LOGITS

    @property
    def needs_targets(self):
        return self.distance == "dkd"

    @property
    def loss_weights(self):
        weights = {"distill": self.distill_weight, "denoise": self.denoise_weight}
        if self.latent_channels is not None:
            weights["reconstruct"] = self.reconstruction_weight
        return weights

    @property
    def metric_names(self):
        return ("gamma",) if self.adapt_noise else ()

    def build_feature(self, teacher_shape, student_shape):
        self.kinds = kinds_of(self, teacher_shape, student_shape)
        teacher_map = map_shape(teacher_shape, self.kinds[0], "teacher")
        student_map = map_shape(student_shape, self.kinds[1], "student")
        check_same_grid(teacher_map, student_map, self.resize)
        channels = self._latent_width(
            teacher_map[-1], is_vector=len(teacher_shape) == 2
        )
        kernel_size = self.kernel_size
        if kernel_size == "auto":
            kernel_size = 1 if len(teacher_shape) == 2 else 3

        latent_map = (None, *teacher_map[:-1], channels)
        if self.latent_channels is not None:
            self.autoencoder = LinearAutoencoder(
                teacher_map[-1], channels, name="autoencoder"
            )
            self.autoencoder.build((None, *teacher_map))
        self.student_projection = dense(
            student_map[-1], channels, name="student_projection"
        )
        self.student_projection.build((None, *student_map))
        if self.adapt_noise:
            self.noise_adapter = NoiseAdapter(
                channels,
                kernel_size,
                rank=len(teacher_map) - 1,
                name="noise_adapter",
            )
            self.noise_adapter.build(latent_map)
        self._set_denoiser(channels, kernel_size, latent_map)
        self.output_conv = dense(channels, channels, name="output_conv")
        self.output_conv.build(latent_map)
        self.output_bn = batch_normalization(name="output_bn")
        self.output_bn.build(latent_map)

    def describe_bridge(self, teacher_shape, student_shape):
        shapes = teacher_shape, student_shape
        text = describe_projection(
            shapes, self.kinds, self.resize, self.latent_channels
        )
        if self.latent_channels is None:
            return text
        return f"{text}; autoencoder {teacher_shape[-1]} to {self.latent_channels}"

    def level_method(self, level):
        method = super().level_method(level)
        if self.share_denoiser and self.levels:
            # A plain namespace: it is tracked as `denoiser` once it fits.
            first = next(iter(self.levels.values()))
            method._given = types.SimpleNamespace(denoiser=first.denoiser)
        return method

    def _set_denoiser(self, channels, kernel_size, latent_map):
        """Creates the diffusion model, or takes that of the first level."""
        denoiser = self._given.denoiser
        if denoiser is None:
            rank = len(latent_map) - 2
            denoiser = Denoiser(channels, kernel_size, rank=rank, name="denoiser")
            denoiser.build(latent_map, (None,))
        elif denoiser.channels != channels:
            raise ValueError(
                "`share_denoiser=True` needs as many channels at every level. "
                f"Received: {denoiser.channels} and {channels}. Pass "
                "`latent_channels`, or `share_denoiser=False`."
            )
        self.denoiser = denoiser

    def _latent_width(self, teacher_channels, is_vector):
        """Returns the channels in which the diffusion model works."""
        if self.latent_channels is None:
            return teacher_channels
        if is_vector:
            raise ValueError(
                "`latent_channels` is for maps, tokens and sequences; logits and other "
                "vectors are denoised as they are. Received: "
                f"latent_channels={self.latent_channels} with a vector of "
                f"{teacher_channels}. Pass latent_channels=None."
            )
        if self.latent_channels > LARGEST_EXPANSION * teacher_channels:
            raise ValueError(
                f"`latent_channels` must be at most {LARGEST_EXPANSION} times the "
                f"teacher's channels, {LARGEST_EXPANSION * teacher_channels} here. "
                f"Received: latent_channels={self.latent_channels} for a teacher's "
                f"feature of {teacher_channels} channels."
            )
        return self.latent_channels

    def feature_losses(
        self,
        teacher_features,
        student_features,
        targets=None,
        training=True,
        *,
        mask=None,
        init_noise=None,
        denoise_noise=None,
        timesteps=None,
    ):
        """Computes the losses of one batch.

        Args:
            teacher_features: Tensor of the teacher's tap.
            student_features: Tensor of the student's tap.
            targets: Class labels, integers or one-hot, used by `distance="dkd"`
                alone.
            training: Whether batch normalisation uses batch statistics.
            mask: Optional boolean tensor of the shape of the student's feature without
                its channels: where it is not, the student does not learn, and the
                distances of logits do not count.
            init_noise: Optional float tensor with as many values as the latent
                feature: the noise mixed with the student's feature.
            denoise_noise: The same for the diffusion loss.
            timesteps: Optional integer tensor `(batch,)` in
                `[0, num_train_timesteps)` for the diffusion loss.

        Returns:
            Dict of float32 scalars: `distill`, `denoise`, `reconstruct` (with
            an autoencoder) and `gamma` (with `adapt_noise`).
        """
        teacher, student = self._maps(teacher_features, student_features)
        teacher = keras.ops.stop_gradient(teacher)
        if mask is not None:
            mask = as_map(mask[..., None], self.kinds[1], "student")
            # The denoiser's kernels reach there from the positions that count.
            constant = keras.ops.stop_gradient(student)
            student = keras.ops.where(mask > 0, student, constant)
        results = {}
        target, reconstruction = self._target(teacher, training)
        if reconstruction is not None:
            results["reconstruct"] = mean_squared_error(teacher, reconstruction)

        projected = self._project(student, target)
        refined, gamma = self._denoise(projected, init_noise, training)
        if gamma is not None:
            results["gamma"] = keras.ops.mean(gamma)
        results["denoise"] = self._denoising_loss(
            target, denoise_noise, timesteps, training
        )
        if len(teacher_features.shape) == 2:
            # Labels of one-hot form would not match maps of one pixel.
            target, refined = target[:, 0, 0, :], refined[:, 0, 0, :]
        if mask is not None:
            nearest = self.resize and "nearest"
            mask = resize_to(mask, teacher, nearest)
        results["distill"] = distance_between(
            self.distance,
            target,
            refined,
            targets=targets,
            temperature=self.temperature,
            mask=mask,
        )
        return results

    def refine(self, student_features, init_noise=None, training=True):
        """Returns the denoised student's feature.

        Args:
            student_features: Tensor of the student's tap.
            init_noise: Optional noise, as in `compute_losses`.
            training: Whether batch normalisation uses batch statistics.

        Returns:
            float32 tensor `(batch, height, width, latent channels)`,
            `(batch, timesteps, latent channels)` for a sequence, or
            `(batch, classes)` for a vector.
        """
        student = as_map(student_features, self.kinds[1], "student")
        projected = self.student_projection(student)
        refined, _ = self._denoise(projected, init_noise, training)
        if len(student_features.shape) == 2:
            return refined[:, 0, 0, :]
        return refined

    def stages(self, teacher_features, student_features, training=True):
        """Returns what becomes of the features of a batch, to look at.

        Args:
            teacher_features: Tensor of the teacher's tap.
            student_features: Tensor of the student's tap.
            training: Whether batch normalisation uses batch statistics.

        Returns:
            Of one feature (`levels` holds the methods of a pyramid's levels): dict
            of float32 tensors: the maps `target` (of the teacher), `student`
            (projected, before denoising) and `denoised`, all
            `(batch, height, width, latent channels)` (of a sequence
            `(batch, timesteps, latent channels)`); and `gamma` of shape
            `(batch,)` with `adapt_noise`.
        """
        teacher, student = self._maps(teacher_features, student_features)
        target, _ = self._target(teacher, training)
        student = self._project(student, target)
        denoised, gamma = self._denoise(student, None, training)
        stages = {"target": target, "student": student, "denoised": denoised}
        return stages if gamma is None else {**stages, "gamma": gamma}

    def _maps(self, teacher_features, student_features):
        teacher = as_map(teacher_features, self.kinds[0], "teacher")
        return teacher, as_map(student_features, self.kinds[1], "student")

    def _target(self, teacher, training):
        """Returns what is to be matched, and the autoencoder's reconstruction."""
        if self.latent_channels is None:
            return teacher, None
        latent, reconstruction = self.autoencoder(teacher, training=training)
        return keras.ops.stop_gradient(latent), reconstruction

    def _project(self, student, target):
        return resize_to(self.student_projection(student), target, self.resize)

    def _denoise(self, x, init_noise, training):
        """Returns the denoised map and γ (`None` without noise adaptation)."""
        gamma = None
        if self.adapt_noise:
            gamma = self.noise_adapter(x, training=training)
            noise = self._noise_like(x, init_noise)
            weight = keras.ops.reshape(gamma, (-1,) + (1,) * (len(x.shape) - 1))
            x = weight * x + (1.0 - weight) * noise

        def denoise(x, timesteps):
            return self.denoiser(x, timesteps, training=training)

        x = self.sampler.sample(denoise, x)
        return self.output_bn(self.output_conv(x), training=training), gamma

    def _denoising_loss(self, target, noise, timesteps, training):
        """Trains the diffusion model on the teacher's (latent) feature."""
        noise = self._noise_like(target, noise)
        if timesteps is None:
            timesteps = keras.random.randint(
                keras.ops.shape(target)[:1],
                0,
                self.num_train_timesteps,
                seed=self.seed_generator,
            )
        noisy = self.schedule.add_noise(target, noise, timesteps)
        predicted = self.denoiser(noisy, timesteps, training=training)
        return mean_squared_error(noise, predicted)

    def _noise_like(self, x, given):
        if given is not None:
            return keras.ops.reshape(
                keras.ops.cast(given, "float32"), keras.ops.shape(x)
            )
        return keras.random.normal(
            keras.ops.shape(x), dtype="float32", seed=self.seed_generator
        )

    def get_config(self):
        distance = self.distance
        if not isinstance(distance, str):
            distance = keras.saving.serialize_keras_object(distance)
        return {
            **super().get_config(),
            "latent_channels": self.latent_channels,
            "kernel_size": self.kernel_size,
            "num_inference_steps": self.num_inference_steps,
            "num_train_timesteps": self.num_train_timesteps,
            "adapt_noise": self.adapt_noise,
            "distance": distance,
            "temperature": self.temperature,
            "denoise_weight": serialized(self.denoise_weight),
            "reconstruction_weight": serialized(self.reconstruction_weight),
            "distill_weight": serialized(self.distill_weight),
            "resize": self.resize,
            "feature_kind": self.feature_kind,
            "share_denoiser": self.share_denoiser,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        if isinstance(config["distance"], dict):
            config["distance"] = keras.saving.deserialize_keras_object(
                config["distance"]
            )
        return super().from_config(config)
