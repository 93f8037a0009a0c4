"""Defines the Keras model that trains a student from a teacher."""

import types
import warnings

import keras

from keras_diffkd.errors import PreflightWarning
from keras_diffkd.features.own_inputs import own_inputs
from keras_diffkd.features.pairs import FeaturePairs
from keras_diffkd.features.teacher import FrozenTeacher
from keras_diffkd.interop.keras_distillation import as_methods
from keras_diffkd.keras_private.trainer import check_compiled
from keras_diffkd.methods.checks import prepare_student
from keras_diffkd.preflight.models import check_arguments
from keras_diffkd.preflight.run import check_fit
from keras_diffkd.quantization.quantized import Quantized
from keras_diffkd.training import backend, task_loss
from keras_diffkd.training.fit_watch import watched
from keras_diffkd.training.loss_balance import make_loss_balance
from keras_diffkd.training.record import TrainingRecord, check_compile
from keras_diffkd.training.saving import Saving
from keras_diffkd.training.trainer import Trainer
from keras_diffkd.validation.models import check_model, check_nothing_shared


@keras.saving.register_keras_serializable(package="keras_diffkd")
class Distiller(Trainer, Quantized, Saving, keras.Model):
    """Trains a student from a frozen teacher, through plain `fit`.

    The total loss is `task_loss_weight * task_loss` plus, for every method, its
    named losses times their weights. `task_loss` is the compiled loss, or the
    student's own `compute_loss` if none was compiled and the student is (as KerasHub
    detectors are); it includes the student's regularization losses. `sample_weight`
    and `class_weight` act on the task loss and on weighted metrics, not on the
    methods' losses; a student's own loss may ignore them, as KerasHub's detectors do.

    Calling, evaluating and predicting run the student alone. The teacher always runs
    with `training=False`; `fit` does not change its weights, and no saved file of the
    distiller contains them.

    Logs of training: `loss`, `task_loss`, `<method>/<loss>`, then the compiled
    metrics and the parts of a task loss that has several. Logs of validation: the
    student's own loss, its parts and metrics.

    Args:
        teacher: A built `keras.Model`. `None` is allowed without methods.
        student: A built `keras.Model`.
        methods: List of `DistillationMethod`s with unique names, and of
            `keras.distillation.DistillationLoss`es.
        task_loss_weight: Float, weight of the task loss, or a
            `keras.optimizers.schedules.LearningRateSchedule` of it. With 0, `fit(x)`
            trains without labels and without a loss, on the teacher's outputs.
        teacher_preprocess: Optional callable on the batch of inputs, for a teacher
            that takes another size or normalization. A batch that is a dictionary
            may hold more entries than the student takes; it gets all of them.
        quantization: Optional `QuantizationAware`, which trains the student in int8.
            `evaluate`, `predict` and calls then give the int8 student's outputs.
        name: Optional name of the model.

    Raises:
        PreflightError: If a model is not built, a step cannot train the student's
            weights, a tap does not exist or does not give a tensor, the inputs
            differ, a method cannot compare the features, or
            the teacher lacks a classifier that a method needs. This `ValueError`
            lists all problems.

    Example:

    >>> def network(width):
    ...     image = keras.Input((8, 8, 1))
    ...     x = keras.layers.Conv2D(width, 3, strides=2, padding="same")(image)
    ...     x = keras.layers.ReLU(name="features")(x)
    ...     x = keras.layers.GlobalAveragePooling2D()(x)
    ...     return keras.Model(image, keras.layers.Dense(10, name="logits")(x))
    >>> distiller = Distiller(
    ...     teacher=network(32),
    ...     student=network(8),
    ...     methods=[DiffKD("features", "features", latent_channels=16)],
    ... )
    >>> distiller.compile(
    ...     "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    >>> x, y = keras.ops.ones((16, 8, 8, 1)), keras.ops.zeros((16,), "int32")
    >>> history = distiller.fit(x, y, verbose=0)
    >>> student = distiller.strip()
    """

    def __init__(
        self,
        teacher=None,
        student=None,
        methods=(),
        *,
        task_loss_weight=1.0,
        teacher_preprocess=None,
        quantization=None,
        name=None,
    ):
        methods = as_methods(methods)
        check_arguments(teacher, student, methods, task_loss_weight, teacher_preprocess)
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        # Plain objects: Keras tracks models in attributes.
        self._original = types.SimpleNamespace(student=student)
        self.frozen_teacher = FrozenTeacher(teacher, teacher_preprocess)
        self.student = prepare_student(student, methods)
        self.methods = methods
        self.task_loss_weight = task_loss_weight
        self.begin_quantization(quantization, self.student is not student)
        self._pairs = FeaturePairs(self.frozen_teacher, self.student, methods)
        self._pairs.build_methods()
        self.loss_balance = make_loss_balance(self)
        self.record = TrainingRecord(self)
        self.built = True

    @property
    def teacher(self):
        """The teacher, or `None`. See `attach_teacher`."""
        return self.frozen_teacher.model

    def __dir__(self):
        # Keras saves every model that it finds by walking `dir(model)`.
        return [name for name in super().__dir__() if name != "teacher"]

    def attach_teacher(self, teacher):
        """Replaces the teacher, for example after loading a saved distiller.

        Args:
            teacher: A built `keras.Model` whose tapped features have the shapes
                and kinds that the methods were built for.

        Raises:
            ValueError: If they differ. The distiller then keeps the old teacher.
        """
        check_model(teacher, "teacher")
        check_nothing_shared(teacher, self.student)
        self._pairs.replace_teacher(teacher)
        self.record.make_step(self)
        self.frozen_teacher.warn_if_other_weights()

    def call(self, inputs, training=False):
        with self.simulated(training):
            return self.student(own_inputs(self.student, inputs), training=training)

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        auto_scale_loss=True,
        max_skipped_steps=50,
        preflight=True,
    ):
        """Configures training; the other arguments are those of `keras.Model.compile`.

        Args:
            jit_compile: `True`, `False` or `"auto"`: whether to compile the step.
                TensorFlow compiles its pure part with XLA; `"auto"` does so on GPUs,
                because XLA is slower on CPUs. JAX compiles the whole step, also with
                `"auto"`. PyTorch uses `torch.compile`, but with `"auto"` runs eagerly.
            max_skipped_steps: Integer. Under mixed_float16, a step whose gradients
                overflow is skipped and the loss scale is halved. After this many
                skipped steps in a row, training ends with a `TrainingDivergedError`.
            preflight: Boolean, whether `fit` checks the first batches, and runs both
                models on them, before it trains (see `preflight`).

        Raises:
            ValueError: If `jit_compile` or `max_skipped_steps` is invalid, or if there
                is no `loss` and the student is not compiled with its own.
        """
        max_skipped_steps = check_compile(jit_compile, max_skipped_steps)
        if self.teacher is not None:
            # Layers may have been unfrozen since the distiller was made.
            check_nothing_shared(self.teacher, self.student)
        task_loss.check_given(self, loss)
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=backend.keras_jit_compile(jit_compile),
            auto_scale_loss=auto_scale_loss,
        )
        self.record.compile(self, jit_compile, max_skipped_steps, preflight)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=True,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
    ):
        """Trains the student; the arguments are those of `keras.Model.fit`.

        Raises:
            PreflightError: If the training cannot work: a `ValueError` that lists all
                problems. See `preflight`.
            ValueError: If labels of later batches lie outside the student's classes.
            TrainingDivergedError: If inputs, the teacher's features, losses,
                gradients or moving statistics are not finite. The step is not
                applied. The error is a `ValueError`.

        Warns:
            PreflightWarning: For settings or data that are allowed but suspicious.
        """
        arguments = {
            k: v for k, v in locals().items() if k not in ("self", "__class__")
        }
        check_compiled(self, "fit")
        if self.record.preflight:
            findings, arguments["x"] = check_fit(
                self, **arguments, replay=True, memory=self.record.checked_data
            )
            findings.raise_errors()
            for text in findings.warnings:
                warnings.warn(text, PreflightWarning, stacklevel=2)
        backend.build_compiled(self, arguments["x"], y)
        try:
            with (
                backend.data_errors_as_value_errors(),
                watched(self, callbacks) as arguments["callbacks"],
            ):
                return super().fit(**arguments)
        finally:
            self.record.epoch = None  # A later step is not part of this epoch.

    def preflight(self, x=None, y=None, *args, **kwargs):
        """Checks the arguments and data of a `fit` without training.

        `fit` runs the same checks (see docs/wrong_inputs.md). This method reads the
        first batches of the data, except from a generator, and runs both models on a
        few hundred samples.

        Args:
            x: Inputs, as for `fit`.
            y: Targets, as for `fit`.
            *args, **kwargs: Further arguments of `fit`.

        Returns:
            `keras_diffkd.preflight.Findings`: `warnings`, and `teacher_accuracy`.

        Raises:
            PreflightError: If the training cannot work, as in `fit`.
        """
        check_compiled(self, "preflight")
        findings, _ = check_fit(self, x, y, *args, **kwargs)
        findings.raise_errors()
        return findings

    def tapped_features(self, x, training=True, collector=None):
        """Runs both models once.

        Args:
            x: Batch of inputs.
            training: Boolean, whether the student runs in training mode.
            collector: Optional `keras_diffkd.features.tapped_tensors.TappedTensors`.

        Returns:
            `(y_pred, features)`: the student's outputs and, for every method, the
            pair of the teacher's and the student's tapped features, channels last.
        """
        with self.simulated(training):
            return self._pairs.read(x, training, collector)

    def strip(self):
        """Returns the student alone, as a plain `keras.Model`.

        It returns the trained model itself, whose outputs equal the distiller's bit for
        bit and which refers to neither the teacher nor the methods. Only a method that
        re-parameterizes the student (`KDiffusion`) trains a copy of it. It then returns
        a new model on each call, whose outputs equal the distiller's up to float error.
        """
        student = self.student
        for method in reversed(self.methods):
            student = method.fold_student(student)
        return student

    @property
    def feature_shapes(self):
        """List of `(teacher's, student's)` shapes of the features of every method."""
        return self._pairs.shapes
