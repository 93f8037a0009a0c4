"""DSKD: the teacher's classifier guides the denoising of the student's feature."""

import keras

from keras_diffkd import losses
from keras_diffkd.diffusion import FeatureDiffusion
from keras_diffkd.layers.random_hyperplanes import CENTERS, RandomHyperplanes
from keras_diffkd.methods.comparable import check_feature_kind, kinds_of
from keras_diffkd.methods.feature_maps import (
    FeatureMaps,
    check_interpolation,
    check_single_taps,
    pooled,
)
from keras_diffkd.methods.labels import log_likelihood_gradient
from keras_diffkd.methods.method import DistillationMethod, config_of_arguments
from keras_diffkd.validation.arguments import (
    check_choice,
    check_integer,
    check_number,
    check_weight,
)


@keras.saving.register_keras_serializable(package="keras_diffkd")
class DSKD(DistillationMethod):
    """Experimental: our reading of the abstract. Self-distillation by denoising.

    The student's feature, projected to the teacher's width, is denoised by a small
    diffusion model. Each of the `num_inference_steps` DDIM steps also raises the
    log-probability that the teacher's own classifier gives the label. The result is a
    constant target: random hyperplanes hash both features, and the student's feature
    is pulled to the sides of the denoised one. The method never compares features of
    the teacher with features of the student.

    Args:
        teacher_tap: The layer of the teacher's feature: a map
            `(batch, height, width, channels)`, square tokens
            `(batch, tokens, channels)`, a sequence `(batch, timesteps, channels)` or
            a vector `(batch, channels)`. The layers after it are the classifier, so it
            cannot be the output, unless `guidance_scale=0`.
        student_tap: The same for the student; channels may differ.
        guidance_scale: Float `s`, 0 for no guidance.
        diffusion_source: `"student"` or `"teacher"`: whose features train the
            diffusion model.
        kernel_size: `"auto"` (1 for vectors, 3 for everything else), 3 or 1.
        num_inference_steps: Integer, DDIM steps from the middle of the schedule.
        num_train_timesteps: Integer, length of the noise schedule, 2 to 1280.
        gamma: Float in (0, 1]: the weight of the student's feature in its mix
            with noise before denoising; 1 adds no noise. A predicted weight, as in
            `DiffKD`, would get no gradient here.
        num_hashes: Integer, the number of hyperplanes.
        hash_stddev: Positive float, scale of the hyperplanes' directions.
        hash_center: `"median"` or `"mean"`: the running center of the denoised
            features, through which the hyperplanes go.
        normalize_features: Whether to scale the pooled features to unit length.
            Without it, training easily diverges: denoising from the middle of the
            schedule enlarges a feature, and a student that follows its own enlarged
            feature grows without end.
        distill_weight: Float, `"balanced"` or schedule, weight of the hashing loss.
        mse_weight: Float, `"balanced"` or schedule, weight of the mean squared error of
            the same two features; 0 for none.
        denoise_weight: Float or schedule, weight of the diffusion model's own loss.
        resize: `None`, `"nearest"` or `"bilinear"` (linear over time): resizes the
            student's map or sequence to the teacher's size.
        feature_kind: `"auto"` (the tapped layers tell), `"tokens"` or `"sequence"`: the
            kind of features with three axes.
        seed: Integer seed of noise and hyperplanes, or `None`.
        name: String, prefix of the logs.

    Losses: `distill`, `denoise` and, unless its weight is 0, `mse`. The labels are
    the targets of `fit`, or the teacher's decision without targets.

    Raises:
        ValueError: If an argument is outside its range, the features cannot be
            compared, or the teacher has no classifier after its tap.

    Example:

    >>> method = DSKD("features", "features", guidance_scale=0.0)
    >>> method.build((None, 4, 4, 16), (None, 4, 4, 8))
    >>> losses = method.compute_losses(
    ...     keras.ops.ones((2, 4, 4, 16)), keras.ops.ones((2, 4, 4, 8)))
    >>> sorted(losses)
    ['denoise', 'distill']

    Source: Teacher-Guided Student Self-Knowledge Distillation Using Diffusion
    Model (arXiv 2602.02107), of which only the abstract was at hand. The start of the
    denoising, the projection, the source of the diffusion model's training, the unit
    length and the running center of the hashes are our reading.
    """

    teacher_losses = ("denoise",)

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        guidance_scale=1.0,
        diffusion_source="student",
        kernel_size="auto",
        num_inference_steps=5,
        num_train_timesteps=1000,
        gamma=1.0,
        num_hashes=2048,
        hash_stddev=1.0,
        hash_center="median",
        normalize_features=True,
        distill_weight=1.0,
        mse_weight=0.0,
        denoise_weight=1.0,
        resize=None,
        feature_kind="auto",
        seed=None,
        name="dskd",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_single_taps(self)
        check_interpolation(resize)
        check_feature_kind(feature_kind)
        check_integer("num_hashes", num_hashes, 1)
        check_number("hash_stddev", hash_stddev, above=0)
        check_choice("hash_center", hash_center, CENTERS)
        check_choice("diffusion_source", diffusion_source, ("student", "teacher"))
        check_number("gamma", gamma, above=0, most=1)  # Here it cannot be `None`.
        check_number("guidance_scale", guidance_scale)
        check_weight("distill_weight", distill_weight, can_balance=True)
        check_weight("mse_weight", mse_weight, can_balance=True)
        check_weight("denoise_weight", denoise_weight)
        self.guidance_scale = guidance_scale
        self.diffusion_source = diffusion_source
        self.kernel_size = kernel_size
        self.num_inference_steps = num_inference_steps
        self.num_train_timesteps = num_train_timesteps
        self.gamma = gamma
        self.num_hashes = num_hashes
        self.hash_stddev = hash_stddev
        self.hash_center = hash_center
        self.normalize_features = normalize_features
        self.distill_weight = distill_weight
        self.mse_weight = mse_weight
        self._compares_values = mse_weight != 0
        self.denoise_weight = denoise_weight
        self.resize = resize
        self.feature_kind = feature_kind
        self.seed = seed
        self.diffusion = FeatureDiffusion(
            kernel_size,
            num_inference_steps,
            num_train_timesteps,
            gamma=gamma,
            seed=seed,
            name="diffusion",
        )

    @property
    def needs_teacher_head(self):
        return self.guidance_scale != 0

    @property
    def loss_weights(self):
        weights = {"distill": self.distill_weight, "denoise": self.denoise_weight}
        if self._compares_values or self.mse_weight != 0:
            weights["mse"] = self.mse_weight
        return weights

    def build(self, teacher_shape, student_shape):
        shapes = teacher_shape, student_shape
        self.maps = FeatureMaps(kinds_of(self, *shapes), *shapes, self.resize)
        self.student_projection = self.maps.projection(name="student_projection")
        self.diffusion.build(self.maps.teacher_shape, self.maps.is_vector)
        channels = self.maps.teacher_shape[-1]
        self.hashing = RandomHyperplanes(
            channels,
            self.num_hashes,
            stddev=self.hash_stddev,
            center=self.hash_center,
            seed=self.seed,
            name="hashing",
        )
        self.hashing.build((None, channels))
        self.built = True

    def describe_bridge(self, teacher_shape, student_shape):
        return self.maps.describe_projection()

    def compute_losses(
        self,
        teacher_features,
        student_features,
        targets=None,
        training=True,
        *,
        init_noise=None,
        denoise_noise=None,
        timesteps=None,
    ):
        """Computes the losses of one batch.

        Args:
            teacher_features: Tensor of the teacher's tap.
            student_features: Tensor of the student's tap.
            targets: Class labels `(batch,)` or probabilities
                `(batch, classes)`; `None` for the teacher's decision.
            training: Whether batch normalization uses batch statistics and the
                center of the hyperplanes moves.
            init_noise: Optional float tensor with as many values as the
                teacher's feature: the noise of the mix if `gamma < 1`.
            denoise_noise: The same for the diffusion loss.
            timesteps: Optional integer tensor `(batch,)` in
                `[0, num_train_timesteps)` for the diffusion loss.

        Returns:
            Dict of float32 scalars: `distill`, `denoise` and `mse` (if used).
        """
        teacher = self.maps.teacher(teacher_features)
        student = self._projected(teacher, student_features)
        refined = self._denoised(
            student, teacher_features, targets, init_noise, training
        )
        source = teacher if self.diffusion_source == "teacher" else student
        results = {
            "denoise": self.diffusion.loss(
                keras.ops.stop_gradient(source),
                denoise_noise,
                timesteps,
                training=training,
            )
        }
        target, student = pooled(refined), pooled(student)
        if self.normalize_features:
            target, student = map(keras.ops.normalize, (target, student))
        if training:
            self.hashing.observe(target)
        results["distill"] = losses.lsh(self.hashing(target), self.hashing(student))
        if self._compares_values:
            results["mse"] = losses.mean_squared_error(target, student)
        return results

    def refine(
        self,
        teacher_features,
        student_features,
        targets=None,
        init_noise=None,
        training=True,
    ):
        """Returns the denoised student's feature, a constant.

        Args:
            teacher_features: Tensor of the teacher's tap: gives the size and, without
                `targets`, the teacher's decision.
            student_features: Tensor of the student's tap.
            targets: Class labels, as in `compute_losses`.
            init_noise: Optional noise, as in `compute_losses`.
            training: Whether batch normalization uses batch statistics.

        Returns:
            float32 tensor in the form of the teacher's feature; tokens are a map
            `(batch, height, width, channels)`, and a vector is one of 1x1.
        """
        teacher = self.maps.teacher(teacher_features)
        student = self._projected(teacher, student_features)
        return self._denoised(student, teacher_features, targets, init_noise, training)

    def _projected(self, teacher, student_features):
        """Returns the student's feature with the width and size of the teacher's."""
        projected = self.student_projection(self.maps.student(student_features))
        return self.maps.resized(projected, teacher)

    def _denoised(self, student, teacher_features, targets, init_noise, training):
        gradient = None
        if self.guidance_scale != 0:
            gradient = log_likelihood_gradient(
                self.teacher_head, teacher_features, targets
            )
        denoised, _ = self.diffusion.denoise(
            keras.ops.stop_gradient(student),
            init_noise,
            gradient=gradient,
            guidance_scale=self.guidance_scale,
            training=training,
        )
        return keras.ops.stop_gradient(denoised)

    def get_config(self):
        return config_of_arguments(self, DSKD.__init__)
