"""DiffKD: denoises the student's feature before it compares it."""

import keras

from keras_diffkd.diffusion import FeatureDiffusion, LinearAutoencoder
from keras_diffkd.diffusion.autoencoder import check_latent_channels
from keras_diffkd.layers.torch_like import batch_normalization, dense
from keras_diffkd.losses import mean_squared_error
from keras_diffkd.losses.standardization import check_standardizable
from keras_diffkd.methods.comparable import check_feature_kind, kinds_of
from keras_diffkd.methods.distance import OF_LOGITS, check_distance, distance_between
from keras_diffkd.methods.feature_maps import FeatureMaps, check_interpolation
from keras_diffkd.methods.method import config_of_arguments
from keras_diffkd.methods.pyramid import PyramidMethod
from keras_diffkd.validation.arguments import check_integer, check_weight


@keras.saving.register_keras_serializable(package="keras_diffkd")
class DiffKD(PyramidMethod):
    """Knowledge diffusion: denoises the student's feature, then compares it.

    A small diffusion model learns the teacher's features, compressed by a linear
    autoencoder if `latent_channels` is given. It denoises the student's projected
    feature, and the result is compared with the teacher's. All of it is trained
    together with the student, and `Distiller.strip` drops it.

    Args:
        teacher_tap: `None` (the output) or the layer of the teacher's feature: a
            map `(batch, height, width, channels)`, a square grid of tokens
            `(batch, tokens, channels)`, a sequence `(batch, timesteps, channels)`, a
            map of three dimensions `(batch, depth, height, width, channels)`, or a
            vector `(batch, channels)`. Of a layer that gives a dictionary of maps (a
            feature pyramid), or of a list of layers, each level is denoised and
            compared on its own, and losses are means over the levels.
        student_tap: The same for the student; channels may differ.
        latent_channels: Integer, width of an autoencoder's latent, or `None` for none.
        kernel_size: `"auto"` (1 for vectors, 3 for everything else), 3 or 1.
        num_inference_steps: Integer, DDIM steps from the middle of the schedule.
        num_train_timesteps: Integer, length of the noise schedule, 2 to 1280.
        adapt_noise: Whether to mix the student's feature with noise by a
            predicted weight γ before denoising.
        distance: `"mse"`, `"kl"`, `"dist"`, `"dkd"`, a `keras.losses.Loss`, or a
            callable `(teacher, denoised student) -> tensor`.
        temperature: Positive float, of the distances `"kl"`, `"dist"`, `"dkd"`.
        standardize_logits: Whether these distances first give each row of logits mean
            0 and standard deviation 1 (LSKD). Needs three or more classes.
        denoise_weight: Float or schedule, weight of the diffusion model's own loss.
        reconstruction_weight: Float or schedule, weight of the autoencoder's own loss.
        distill_weight: Float, `"balanced"` or schedule, weight of the distance.
        resize: `None`, `"nearest"` or `"bilinear"` (linear over time): resizes the
            student's map or sequence to the teacher's size.
        feature_kind: `"auto"` (the tapped layers tell), `"tokens"` or `"sequence"`: the
            kind of features with three axes.
        share_denoiser: Whether all levels of a pyramid share one denoiser. Each keeps
            its own projection, autoencoder and noise adapter.
        seed: Integer seed of the noise, or `None`.
        name: String, prefix of the logs.

    Losses: `distill`, `denoise` and, with an autoencoder, `reconstruct`.
    Metric: `gamma`, the mean of γ; 1 adds no noise.

    Raises:
        ValueError: If an argument is outside its range or, in `build`, if the
            features cannot be compared.

    Example:

    >>> method = DiffKD("features", "features", latent_channels=8)
    >>> method.build((None, 4, 4, 16), (None, 4, 4, 8))
    >>> losses = method.compute_losses(
    ...     keras.ops.ones((2, 4, 4, 16)), keras.ops.ones((2, 4, 4, 8)))
    >>> sorted(losses)
    ['denoise', 'distill', 'gamma', 'reconstruct']

    Source: Knowledge Diffusion for Distillation (NeurIPS 2023, arXiv 2305.15712) and
    the authors' code. `resize`, `share_denoiser`, sequences and maps of three
    dimensions are ours.
    """

    teacher_losses = ("denoise", "reconstruct")

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
        standardize_logits=False,
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
        check_distance(distance, temperature, standardize_logits)
        check_interpolation(resize)
        check_feature_kind(feature_kind)
        if latent_channels is not None:
            latent_channels = check_integer("latent_channels", latent_channels, 1)
        check_weight("denoise_weight", denoise_weight)
        check_weight("reconstruction_weight", reconstruction_weight)
        check_weight("distill_weight", distill_weight, can_balance=True)
        self.latent_channels = latent_channels
        self.kernel_size = kernel_size
        self.num_inference_steps = num_inference_steps
        self.num_train_timesteps = num_train_timesteps
        self.adapt_noise = adapt_noise
        self.distance = distance
        self.temperature = temperature
        self.standardize_logits = standardize_logits
        self.denoise_weight = denoise_weight
        self.reconstruction_weight = reconstruction_weight
        self.distill_weight = distill_weight
        self.resize = resize
        self.feature_kind = feature_kind
        self.share_denoiser = share_denoiser
        self.seed = seed
        self.diffusion = FeatureDiffusion(
            kernel_size,
            num_inference_steps,
            num_train_timesteps,
            gamma=None if adapt_noise else 1.0,
            seed=seed,
            name="diffusion",
        )

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
        shapes = teacher_shape, student_shape
        self.maps = FeatureMaps(kinds_of(self, *shapes), *shapes, self.resize)
        *wanted, width = self.maps.teacher_shape
        channels = self.latent_channels or width
        if self.standardize_logits:
            check_standardizable(channels)
        latent = (*wanted, channels)
        if self.latent_channels is not None:
            check_latent_channels(channels, width, self.maps.is_vector)
            self.autoencoder = LinearAutoencoder(width, channels, name="autoencoder")
            self.autoencoder.build((*wanted, width))
        self.student_projection = self.maps.projection(
            channels, name="student_projection"
        )
        self.diffusion.build(latent, self.maps.is_vector)
        self.output_conv = dense(channels, channels, name="output_conv")
        self.output_conv.build(latent)
        self.output_bn = batch_normalization(name="output_bn")
        self.output_bn.build(latent)

    def describe_bridge(self, teacher_shape, student_shape):
        text = self.maps.describe_projection(self.latent_channels)
        if self.latent_channels is None:
            return text
        return f"{text}; autoencoder {teacher_shape[-1]} to {self.latent_channels}"

    def level_method(self, level):
        method = super().level_method(level)
        if self.share_denoiser and self.levels:
            first = next(iter(self.levels.values()))
            method.diffusion.share_denoiser(first.diffusion)
        return method

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
            targets: Class labels, integers or one-hot, for `distance="dkd"`.
            training: Whether batch normalization uses batch statistics.
            mask: Optional boolean tensor of the shape of the student's feature without
                its channels. Where it is false, the student does not learn, and the
                distances of logits do not count.
            init_noise: Optional float tensor with as many values as the latent
                feature: the noise mixed with the student's feature.
            denoise_noise: The same for the diffusion loss.
            timesteps: Optional integer tensor `(batch,)` in
                `[0, num_train_timesteps)` for the diffusion loss.

        Returns:
            Dict of float32 scalars: the losses and, with `adapt_noise`, `gamma`.
        """
        teacher = self.maps.teacher(teacher_features)
        student = self.maps.student(student_features)
        if mask is not None:
            mask = self.maps.student(mask[..., None])
            # The denoiser's kernels reach there from the positions that count.
            constant = keras.ops.stop_gradient(student)
            student = keras.ops.where(mask > 0, student, constant)
        results = {}
        target, reconstruction = self._target(teacher, training)
        if reconstruction is not None:
            results["reconstruct"] = mean_squared_error(teacher, reconstruction)
        student = self._projected(student, target)
        refined, gamma = self._refined(student, init_noise, training)
        if self.adapt_noise:
            results["gamma"] = keras.ops.mean(gamma)
        results["denoise"] = self.diffusion.loss(
            target, denoise_noise, timesteps, training=training
        )
        results["distill"] = distance_between(
            self.distance,
            # Labels of one-hot form would not match maps of one pixel.
            self.maps.vectors(target),
            self.maps.vectors(refined),
            targets=targets,
            temperature=self.temperature,
            standardize_logits=self.standardize_logits,
            mask=mask if mask is None else self.maps.resized_mask(mask, teacher),
        )
        return results

    def refine(self, student_features, init_noise=None, training=True):
        """Returns the denoised student's feature.

        Args:
            student_features: Tensor of the student's tap.
            init_noise: Optional noise, as in `compute_losses`.
            training: Whether batch normalization uses batch statistics.

        Returns:
            float32 tensor in the form of the tap (tokens as a square map), with the
            latent's channels.
        """
        projected = self.student_projection(self.maps.student(student_features))
        refined, _ = self._refined(projected, init_noise, training)
        return self.maps.vectors(refined)

    def stages(self, teacher_features, student_features, training=True):
        """Returns the feature to match, and the student's before and after denoising.

        Args:
            teacher_features: Tensor of the teacher's tap.
            student_features: Tensor of the student's tap.
            training: Whether batch normalization uses batch statistics.

        Returns:
            Dict of float32 tensors: the maps or sequences `target`, `student` and
            `denoised` with the latent's channels and, with `adapt_noise`, `gamma` of
            shape `(batch,)`. A pyramid's `levels` have one each.
        """
        target, _ = self._target(self.maps.teacher(teacher_features), training)
        student = self._projected(self.maps.student(student_features), target)
        denoised, gamma = self._refined(student, None, training)
        stages = {"target": target, "student": student, "denoised": denoised}
        return {**stages, "gamma": gamma} if self.adapt_noise else stages

    def _target(self, teacher, training):
        """Returns the feature to match, and the autoencoder's reconstruction."""
        if self.latent_channels is None:
            return teacher, None
        latent, reconstruction = self.autoencoder(teacher, training=training)
        return keras.ops.stop_gradient(latent), reconstruction

    def _projected(self, student, target):
        return self.maps.resized(self.student_projection(student), target)

    def _refined(self, projected, noise, training):
        """Returns the denoised map, and γ."""
        x, gamma = self.diffusion.denoise(projected, noise, training=training)
        return self.output_bn(self.output_conv(x), training=training), gamma

    def get_config(self):
        return config_of_arguments(self, DiffKD.__init__)

    @classmethod
    def from_config(cls, config):
        distance = config["distance"]
        if isinstance(distance, dict):
            distance = keras.saving.deserialize_keras_object(distance)
        return super().from_config({**config, "distance": distance})
