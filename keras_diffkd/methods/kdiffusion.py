"""KDiffusion: parallel branches approach the teacher's feature step by step."""

import keras

from keras_diffkd import losses
from keras_diffkd.diffusion import DDIMSampler, NoiseSchedule
from keras_diffkd.diffusion.noise import normal_noise
from keras_diffkd.features.paths import find_layer
from keras_diffkd.features.surgery import with_replaced_layer
from keras_diffkd.layers.reparameterized_conv import ReparameterizedConv2D
from keras_diffkd.methods.comparable import check_feature_kind, kinds_of
from keras_diffkd.methods.feature_maps import (
    FeatureMaps,
    check_interpolation,
    check_single_taps,
    from_map,
)
from keras_diffkd.methods.labels import class_probabilities, log_likelihood
from keras_diffkd.methods.method import DistillationMethod
from keras_diffkd.training.loss_weights import serialized
from keras_diffkd.validation.arguments import check_integer, check_seed, check_weight


@keras.saving.register_keras_serializable(package="keras_diffkd")
class KDiffusion(DistillationMethod):
    """Experimental: our reading of the abstract. Branches match noisy features.

    In training, the tapped convolution of the student is `K` parallel convolutions
    with batch normalization (see `layers.ReparameterizedConv2D`). A common 1x1
    convolution projects the outputs of the branches, which are compared with the
    teacher's feature `x_k = sqrt(ᾱ_k) F_t + sqrt(1 - ᾱ_k) ε` at `K` falling noise
    levels; the last one has (nearly) no noise. Each step draws anew which branch gets
    which level. The teacher's own classifier also reads the projected combination of
    the branches, and its cross-entropy counts.

    The method trains a copy of the student that `Distiller` gets. `Distiller.strip`
    returns the trained student with the architecture, names and dtypes of the given
    one, the branches merged into one convolution. It returns a new model on each call,
    and you can continue training.

    Args:
        teacher_tap: The layer of the teacher's feature: a map
            `(batch, height, width, channels)` or square tokens. Without
            guidance `None` (the output) is allowed.
        student_tap: Name or path of the student's `Conv2D` to re-parameterize; the
            last stage works best. The student, and models on the path, must be
            functional or sequential.
        num_branches: Integer `K`, at least 1.
        num_train_timesteps: Integer, length of the noise schedule. The levels
            are the timesteps of `DDIMSampler`: 375, 250, 125, 0 for four
            branches.
        shuffle: Whether to permute the levels in every step.
        distill_weight: Float, `"balanced"` or schedule, weight of the matching loss.
        guidance_weight: Float or schedule, weight of the teacher's cross-entropy. With
            0, the teacher needs no classifier after its tap.
        resize: `None`, `"nearest"` or `"bilinear"`: resizes the student's map to the
            teacher's grid.
        feature_kind: `"auto"` (the tapped layers tell) or `"tokens"`: the kind of a
            teacher's feature with three axes.
        seed: Integer seed of noise, shuffling and the branches, or `None`.
        name: String, prefix of the logs.

    Losses: `distill` and, unless its weight is 0, `guidance`. The labels are the
    targets of `fit`, or the teacher's decision without targets.

    Raises:
        ValueError: If an argument is outside its range, the student's tap is not a
            plain `Conv2D`, the student cannot be rebuilt, the grids differ without
            `resize`, or the teacher has no classifier after its tap.

    Example:

    >>> method = KDiffusion("features", "conv", num_branches=2, guidance_weight=0.0)
    >>> image = keras.Input((8, 8, 1))
    >>> student = keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(image))
    >>> branched = method.prepare_student(student)
    >>> type(branched.get_layer("conv")).__name__
    'ReparameterizedConv2D'
    >>> type(method.fold_student(branched).get_layer("conv")).__name__
    'Conv2D'

    Source: Progressively Knowledge Distillation via Re-parameterizing Diffusion
    Reverse Process (AAAI 2024, doi 10.1609/aaai.v38i15.29579). Only a summary
    was at hand. One ε for all levels, the grid of levels, the common projection and
    the form of the combination are our reading.
    """

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        num_branches=4,
        num_train_timesteps=1000,
        shuffle=True,
        distill_weight=1.0,
        guidance_weight=1.0,
        resize=None,
        feature_kind="auto",
        seed=None,
        name="kdiffusion",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_single_taps(self)
        check_interpolation(resize)
        check_feature_kind(feature_kind)
        if student_tap is None:
            raise ValueError(
                "KDiffusion re-parameterizes a convolution of the student: "
                "`student_tap` must be the name of a Conv2D layer. "
                "Received: student_tap=None"
            )
        self.schedule = NoiseSchedule(num_train_timesteps)
        # One level of noise for each branch, on the sampler's grid.
        num_branches = check_integer(
            "num_branches", num_branches, 1, self.schedule.num_train_timesteps // 2
        )
        check_weight("distill_weight", distill_weight, can_balance=True)
        check_weight("guidance_weight", guidance_weight)
        check_seed(seed)
        self.num_branches = num_branches
        self.num_train_timesteps = num_train_timesteps
        self.shuffle = shuffle
        self.distill_weight = distill_weight
        self.guidance_weight = guidance_weight
        self._is_guided = guidance_weight != 0
        self.resize = resize
        self.feature_kind = feature_kind
        self.seed = seed
        self.convolution = student_tap
        # The taps are parts of the layer that replaces the convolution.
        self.student_tap = [
            *(f"{student_tap}/branch_{k}" for k in range(num_branches)),
            f"{student_tap}/combination",
        ]
        self.timesteps = DDIMSampler(self.schedule, num_branches).timesteps
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def needs_teacher_head(self):
        return self._is_guided

    @property
    def loss_weights(self):
        weights = {"distill": self.distill_weight}
        if self._is_guided or self.guidance_weight != 0:
            weights["guidance"] = self.guidance_weight
        return weights

    def prepare_student(self, student):
        """Returns a copy of the student with branches for the convolution."""
        _check_convolution(find_layer(student, self.convolution), self.convolution)

        def make(layer):
            return ReparameterizedConv2D(layer.get_config(), self.num_branches)

        def fill(layer, branched):
            branched.split(layer, self.seed)

        return with_replaced_layer(student, self.convolution, make, fill)

    def fold_student(self, student):
        """Returns a copy of the student with the branches merged again."""

        def make(branched):
            return keras.layers.Conv2D.from_config(branched.convolution)

        def fill(branched, layer):
            branched.merge_into(layer)

        return with_replaced_layer(student, self.convolution, make, fill)

    def build(self, teacher_shape, student_shape):
        shapes = teacher_shape, student_shape[-1]
        self.maps = FeatureMaps(kinds_of(self, *shapes), *shapes, self.resize)
        self.bridge = self.maps.projection(name="bridge")
        self.built = True

    def describe_bridge(self, teacher_shape, student_shape):
        return self.maps.describe_projection()

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        teacher = self.maps.teacher(teacher_features)
        *branches, combination = [
            self.maps.resized(self.bridge(self.maps.student(x)), teacher)
            for x in student_features
        ]
        results = {
            "distill": losses.mean_squared_error(
                self._noisy(teacher), keras.ops.stack(branches)
            )
        }
        if self.needs_teacher_head:
            labels = class_probabilities(targets, self.teacher_head, teacher_features)
            bridged = from_map(combination, teacher_features.shape)
            results["guidance"] = -keras.ops.mean(
                log_likelihood(self.teacher_head(bridged), labels)
            )
        return results

    def _noisy(self, teacher):
        """Returns the feature at every branch's noise level, branches first."""
        timesteps = keras.ops.convert_to_tensor(self.timesteps, dtype="int32")
        if self.shuffle:
            timesteps = keras.random.shuffle(timesteps, seed=self.seed_generator)
        noise = normal_noise(keras.ops.shape(teacher), self.seed_generator)
        return self.schedule.add_noise(teacher[None], noise[None], timesteps)

    def get_config(self):
        return {
            **super().get_config(),
            "student_tap": self.convolution,
            "num_branches": self.num_branches,
            "num_train_timesteps": self.num_train_timesteps,
            "shuffle": self.shuffle,
            "distill_weight": serialized(self.distill_weight),
            "guidance_weight": serialized(self.guidance_weight),
            "resize": self.resize,
            "feature_kind": self.feature_kind,
            "seed": self.seed,
        }


def _check_convolution(layer, tap):
    if type(layer) is not keras.layers.Conv2D:
        raise ValueError(
            "KDiffusion re-parameterizes a plain Conv2D. Received: "
            f"student_tap={tap!r}, a {type(layer).__name__}. Tap the convolution, not "
            "the layer after it. Depthwise, separable and transposed convolutions do "
            "not qualify."
        )
    constrained = layer.kernel_constraint or layer.bias_constraint
    if constrained or layer.lora_enabled or layer.data_format != "channels_last":
        raise ValueError(
            "KDiffusion needs a convolution with channels last, without constraints on "
            "its weights and without LoRA. Received: "
            f"student_tap={tap!r}, data_format={layer.data_format!r}, "
            f"kernel_constraint={layer.kernel_constraint}, "
            f"bias_constraint={layer.bias_constraint}, lora={layer.lora_enabled}. Tap "
            "another convolution, or build the student without them."
        )
