"""The Keras model that trains a student from a teacher."""

import inspect
import types
import warnings

import keras

from keras_diffkd.errors import PreflightWarning
from keras_diffkd.features.head import attach_heads
from keras_diffkd.features.own_inputs import own_inputs
from keras_diffkd.features.pairs import check_same_kinds, pair_specs, pair_up, taps_of
from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.features.teacher import FrozenTeacher
from keras_diffkd.interop.keras_distillation import as_methods
from keras_diffkd.methods.checks import check_loss_names
from keras_diffkd.preflight import check_fit
from keras_diffkd.preflight.models import check_arguments
from keras_diffkd.preflight.run import Memory
from keras_diffkd.training import backend, step
from keras_diffkd.training.counted_positions import counted_positions
from keras_diffkd.training.fit_watch import watched
from keras_diffkd.training.loss_weights import (
    LossWeights,
    at_step,
    serialized,
    weights_of,
)
from keras_diffkd.training.step_count import StepCount
from keras_diffkd.validation.arguments import check_integer
from keras_diffkd.validation.findings import Findings
from keras_diffkd.validation.models import check_model, check_nothing_shared


@keras.saving.register_keras_serializable(package="keras_diffkd")
class Distiller(keras.Model):
    """Trains a student from a frozen teacher, through plain `fit`.

    The total loss is `task_loss_weight * task_loss` plus, for every method, its
    named losses times their weights. `task_loss` is the loss that was compiled,
    or the student's own `compute_loss` if none was and the student is compiled
    (as KerasHub detectors are); it includes the student's regularisation
    losses. `sample_weight` and `class_weight` act on the task loss and on
    weighted metrics, not on the methods' losses; a student's own loss may leave
    them out, as KerasHub's detectors do.

    Under a `tf.distribute` strategy a `compute_loss` of the student's own counts
    as a mean over its replica's samples. KerasHub's RetinaNet divides by the
    objects of the samples that it sees: there those of the replica.

    Calling, evaluating or predicting with the distiller runs the student alone.
    The teacher always runs with `training=False`; `fit` changes nothing of it,
    and its weights are in no file that the distiller saves.

    Args:
        teacher: A built `keras.Model`. `None` is allowed without methods.
        student: A built `keras.Model`.
        methods: List of `DistillationMethod`s with unique names, and of
            `keras.distillation.DistillationLoss`es.
        task_loss_weight: Float, weight of the task loss, or a
            `keras.optimizers.schedules.LearningRateSchedule` of it. With 0, neither
            labels nor a loss are needed: `fit(x)` trains on what the teacher says.
        teacher_preprocess: Optional callable on the batch of inputs, for a
            teacher that wants another size or normalisation than the student. A
            batch that is a dictionary may hold more than the student takes, what the
            teacher said of the samples earlier for example; it is handed over whole.
        name: Optional name of the model.

    Raises:
        ValueError: If a model is not built, a tap does not exist or is no
            tensor, the inputs differ, a method cannot compare the features, or
            the teacher has no classifier that a method needs. It names all that
            is wrong (`keras_diffkd.preflight.PreflightError`).

    Logs of training: `loss`, `task_loss`, `<method>/<loss>`, then the compiled
    metrics and the parts of a task loss that has several. Logs of validation: the
    student's own loss, its parts and metrics.

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
        name=None,
    ):
        methods = as_methods(methods)
        check_arguments(teacher, student, methods, task_loss_weight, teacher_preprocess)
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        self._frozen = FrozenTeacher(teacher, teacher_preprocess)
        # Plain namespaces: Keras would track models and functions in attributes.
        self._original = types.SimpleNamespace(student=student)
        self._step = types.SimpleNamespace(
            jit_compile="auto",
            teacher_variables=[],
            gradients=None,
            assigned=[],
            seed_generator=None,
            untrained=[],
            count=None,
            loss_weights=None,
            max_skipped_steps=None,
            epoch=None,
            failure=None,
            preflight=True,
            checked=Memory(),
        )

        findings = Findings()
        for method in methods:
            with findings.collecting():
                student = method.prepare_student(student)
        findings.raise_errors()
        self.student = student
        self.methods = methods
        self.task_loss_weight = task_loss_weight
        self._build_methods()
        self._trackers = {
            key: keras.metrics.Mean(name=key.replace("/", "_"))
            for key in self._loss_names()
        }
        self._step.count = StepCount()
        self._step.loss_weights = LossWeights(self)
        self.built = True

    @property
    def teacher(self):
        """The teacher, or `None`. See `attach_teacher`."""
        return self._frozen.model

    def __dir__(self):
        # Keras saves every model that it finds by walking `dir(model)`.
        return [name for name in super().__dir__() if name != "teacher"]

    def attach_teacher(self, teacher):
        """Replaces the teacher, after loading a saved distiller for instance.

        Args:
            teacher: A built `keras.Model` whose tapped features have the shapes
                for which the methods were built.

        Raises:
            ValueError: If it has not. The old teacher stays then.
        """
        check_model(teacher, "teacher")
        check_nothing_shared(teacher, self.student)
        previous, self._frozen.model = self._frozen.model, teacher
        try:
            _, shapes, tapped = self._specs()
            if shapes != self._feature_shapes:
                raise ValueError(
                    "The new teacher must give features of the shapes that the methods "
                    f"were built for. Received: {shapes}, "
                    f"expected: {self._feature_shapes}"
                )
            check_same_kinds(tapped, self._tapped.features)
            attach_heads(self.methods, teacher, self.output_spec)
        except ValueError:
            self._frozen.model = previous
            raise
        self._tapped.features = tapped
        self._make_step()
        self._frozen.warn_if_other_weights()

    def _build_methods(self):
        """Creates the methods' layers, before the optimizer wants to know them."""
        outputs, self._feature_shapes, tapped = self._specs()
        self._student_outputs = types.SimpleNamespace(spec=outputs)
        self._tapped = types.SimpleNamespace(features=tapped)
        kinds = tapped and pair_up(self.methods, *(each.kinds for each in tapped))
        findings = Findings()
        with findings.collecting():
            attach_heads(self.methods, self.teacher, self.output_spec)
        for method, shapes, told in zip(
            self.methods, self._feature_shapes, kinds or [], strict=True
        ):
            if not method.built:
                method.tapped_kinds = told
                with findings.collecting():
                    method.build(*shapes)
        findings.raise_errors()

    def _specs(self):
        return pair_specs(self._frozen, self.student, self.methods)

    def _loss_names(self):
        """Returns the keys of the training logs, besides `loss` and metrics."""
        names = ["task_loss"]
        for method in self.methods:
            for name in (*method.loss_weights, *method.metric_names):
                names.append(f"{method.name}/{name}")
        return names

    def call(self, inputs, training=False):
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
        """Configures training; the arguments are those of `keras.Model.compile`.

        Args:
            preflight: Whether `fit` looks at the first batches, and runs both models
                on them, before it trains; see `preflight`.
            jit_compile: `True`, `False` or `"auto"`: whether the step is compiled.
                On TensorFlow its pure part, with XLA; `"auto"` is XLA on a GPU and
                the plain graph on a CPU, where XLA is the slower one. On JAX the
                whole step, with `jax.jit`, which `"auto"` means too. On PyTorch
                its pure part, with `torch.compile`; `"auto"` is eager.
            max_skipped_steps: Integer. Under mixed_float16, a step whose gradients
                overflow is skipped and the loss scale halved; after so many in a row,
                training ends with a `TrainingDivergedError`.

        Raises:
            ValueError: If `jit_compile` is none of these, `max_skipped_steps` is
                below 1, or there is neither a `loss` nor a student compiled with its
                own.
        """
        if not (isinstance(jit_compile, bool) or jit_compile == "auto"):
            raise ValueError(
                '`jit_compile` must be True, False or "auto". '
                f"Received: jit_compile={jit_compile!r}"
            )
        max_skipped_steps = check_integer("max_skipped_steps", max_skipped_steps, 1)
        if self.teacher is not None:
            # What is trained is decided here: layers may have been unfrozen.
            check_nothing_shared(self.teacher, self.student)
        if loss is None and not self.student.compiled and self.learns_from_labels():
            raise ValueError(
                "There is no task loss: pass `loss` to `compile`, or compile the "
                f"student {self.student.name!r} with its own. To learn from the "
                "teacher alone, pass task_loss_weight=0 to `Distiller`."
            )
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
        self._step.jit_compile = jit_compile
        self._step.max_skipped_steps = max_skipped_steps
        self._step.count.can_skip = isinstance(
            self.optimizer, keras.optimizers.LossScaleOptimizer
        )
        self._step.preflight = preflight
        self._make_step()

    def _make_step(self):
        """Makes the step anew: what was traced reads the teacher of that time."""
        self.train_function = None
        self._step.loss_weights.begin(self)
        self._step.checked = Memory()
        self._step.teacher_variables = (
            step.only_read(self.teacher, self.student) if self.methods else []
        )
        self._step.assigned = step.layers_metrics(self)
        self._step.gradients = backend.make_gradient_function(
            self, jit_compile=False if self.run_eagerly else self._step.jit_compile
        )

    def fit(self, x=None, y=None, *args, **kwargs):
        """Trains the student; the arguments are those of `keras.Model.fit`.

        Raises:
            PreflightError: If something stands against the training: a `ValueError`
                that names all of it. See `preflight`.
            ValueError: If labels of later batches lie outside the student's classes.
            TrainingDivergedError: If inputs, the teacher's features, losses,
                gradients or moving statistics are not finite: before anything of
                that step is applied. It is a `ValueError`.

        Warns:
            PreflightWarning: For what is legal and suspicious.
        """
        self._assert_compile_called("fit")
        if self._step.preflight:
            findings, x = check_fit(
                self, x, y, *args, replay=True, memory=self._step.checked, **kwargs
            )
            findings.raise_errors()
            for text in findings.warnings:
                warnings.warn(text, PreflightWarning, stacklevel=2)
        backend.build_compiled(self, x, y)
        given = inspect.signature(super().fit).bind(x, y, *args, **kwargs)
        given.arguments["callbacks"] = watched(self, given.arguments.get("callbacks"))
        try:
            with backend.data_errors_as_value_errors():
                return super().fit(*given.args, **given.kwargs)
        finally:
            self._step.epoch = None  # Also for the error about a step after this.

    def preflight(self, x=None, y=None, *args, **kwargs):
        """Checks what `fit` would be given, and changes nothing.

        `fit` does the same by itself: see docs/wrong_inputs.md.
        It reads the first batches of the data - a data set is iterated once more
        for that - and runs both models on a few hundred samples. A second `fit`
        on the same object does not repeat it. Of a generator, `fit` reads one batch
        and trains on it first; here nothing is taken out of it.

        Args:
            x: As for `fit`, and so all other arguments.
            y: Targets.
            *args: Further arguments of `fit`.
            **kwargs: Likewise.

        Returns:
            `keras_diffkd.preflight.Findings`: `warnings`, and `teacher_accuracy`.

        Raises:
            PreflightError: If something stands against the training: a `ValueError`
                that names all of it.
        """
        self._assert_compile_called("preflight")
        findings, _ = check_fit(self, x, y, *args, **kwargs)
        findings.raise_errors()
        return findings

    def make_train_function(self, force=False):
        # Every way of training comes through here, `train_on_batch` too.
        self._frozen.check_weights()
        if self._step.loss_weights.are_of_another_step(self):
            self._make_step()
        backend.make_train_function(self, super().make_train_function, force)

    def train_step(self, *args, **kwargs):
        return backend.train_step(self, *args, **kwargs)

    def test_step(self, *args):
        """Evaluates the student alone."""
        _, y, _ = keras.utils.unpack_x_y_sample_weight(args[-1])
        if y is None and self._compile_loss is not None:
            raise ValueError(
                "The loss needs labels to evaluate the student. Received: y=None. Pass "
                "`y`, or a data set of `(x, y)`."
            )
        return backend.test_step(self, super().test_step, *args)

    def predict_step(self, *args):
        """Runs the student alone."""
        return backend.predict_step(self, super().predict_step, *args)

    def _maybe_symbolic_build(self, **kwargs):
        # Keras's TensorFlow trainer calls it before it traces.
        backend.symbolic_build(self, super()._maybe_symbolic_build, **kwargs)

    def _symbolic_build(self, iterator=None, data_batch=None):
        own_loss = self.student._compile_loss
        if self._compile_loss is None and own_loss is not None and not own_loss.built:
            if data_batch is None:
                _, _, data = next(iter(iterator))
                data_batch = data[0] if isinstance(data, (list, tuple)) else next(data)
            _, y, _ = keras.utils.unpack_x_y_sample_weight(data_batch)
            step.build_task_loss(self, y)
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    def tapped_features(self, x, training=True):
        """Runs both models once.

        Args:
            x: Batch of inputs.
            training: Whether the student runs in training mode.

        Returns:
            `(y_pred, features)`: the student's outputs and, for every method, the
            pair of the teacher's and the student's tapped features, channels last.
        """
        y_pred, student = call_with_taps(
            self.student, x, taps_of(self.methods, "student"), training=training
        )
        if not self.methods:
            return y_pred, []
        teacher = self._frozen.features(x, taps_of(self.methods, "teacher"))
        of_teacher, of_student = self._tapped.features
        return y_pred, pair_up(
            self.methods,
            of_teacher.channels_last(teacher),
            of_student.channels_last(student),
        )

    def compute_training_losses(self, x, y=None, sample_weight=None, training=True):
        """Runs both models once and computes every loss of a batch.

        Args:
            x: Batch of inputs.
            y: Batch of targets.
            sample_weight: Optional weights of the samples, for the task loss.
            training: Whether the student and the methods run in training mode.

        Returns:
            `(losses, y_pred)`: a dict of float32 scalars with `loss` (the
            total), `task_loss` and `<method>/<name>`, and the student's outputs.
        """
        y_pred, features = self.tapped_features(x, training=training)
        weights = at_step(weights_of(self), self.optimizer if self.compiled else None)
        losses = self.losses_of(
            x, y, sample_weight, y_pred, features, weights, training
        )
        return losses, y_pred

    def losses_of(self, x, y, sample_weight, y_pred, features, weights, training=True):
        """Returns the losses of what `tapped_features` returned, as a dict.

        Args:
            x: Batch of inputs.
            y: Batch of targets.
            sample_weight: Weights of the samples, or `None`.
            y_pred: The student's outputs.
            features: Pairs of features.
            weights: Dict from the name of every loss to its weight, a scalar.
            training: Whether the methods run in training mode.
        """
        task_loss = self.compute_loss(
            x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
        )
        task_loss = keras.ops.cast(backend.unscaled(task_loss), "float32")
        losses = {"task_loss": task_loss}
        total = weights["task_loss"] * task_loss
        for method, (of_teacher, of_student) in zip(
            self.methods, features, strict=True
        ):
            mask = counted_positions(self, method, y, y_pred, of_student)
            masked = {} if mask is None else {"mask": mask}
            results = method.compute_losses(
                of_teacher, of_student, targets=y, training=training, **masked
            )
            check_loss_names(method, results)
            for name in method.loss_weights:
                total = total + weights[f"{method.name}/{name}"] * results[name]
            losses |= {f"{method.name}/{name}": v for name, v in results.items()}
        return {"loss": total, **losses}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the task loss of the student; 0 where it learns without labels."""
        if not self.learns_from_labels() and (y is None or not self._has_task_loss()):
            self._step.loss_weights.labels_left_out = True
            return keras.ops.zeros(())
        if y is None and self._compile_loss is not None:
            raise ValueError(
                "The task loss needs labels. Received: y=None. Pass `y`, or a data set "
                "of `(x, y)`; or pass task_loss_weight=0 to `Distiller`, to learn from "
                "the teacher alone."
            )
        batch = {"x": x, "y": y, "y_pred": y_pred, "sample_weight": sample_weight}
        own = self._compile_loss is None
        compute = self.student.compute_loss if own else super().compute_loss
        return backend.task_loss(
            lambda: compute(**batch, training=training),
            own and type(self.student).compute_loss is not keras.Model.compute_loss,
        )

    def learns_from_labels(self):
        """Whether the task loss counts: without it, labels are not needed."""
        # A schedule does not equal 0, whatever it begins with.
        return self.task_loss_weight != 0

    def _has_task_loss(self):
        """Whether there is a loss on the student's outputs, ours or its own."""
        student = self.student
        overrides = type(student).compute_loss is not keras.Model.compute_loss
        return (
            self._compile_loss is not None
            or student._compile_loss is not None
            or (student.compiled and overrides)
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the compiled metrics and returns the logs.

        Without labels there is nothing to measure: the metrics are in no log then.
        """
        if y is not None:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        measured = [self._compile_metrics, *step.parts_of_task_loss(self)]
        return self._results(
            metric
            for metric in self.metrics
            if not any(metric is other for other in measured)
        )

    def strip(self):
        """Returns the student alone, as a plain `keras.Model`.

        It is the trained model itself: no copy is made, and it knows neither the
        teacher nor the methods. Its outputs equal the distiller's bit for bit.
        Only a method that re-parameterises the student (`KDiffusion`) trains a
        copy of the student that was given, and returns a new model here every
        time, whose outputs equal the distiller's up to float error.
        """
        student = self.student
        for method in reversed(self.methods):
            student = method.fold_student(student)
        return student

    @property
    def metrics(self):
        trackers = list(self._trackers.values())
        others = [m for m in super().metrics if not any(m is t for t in trackers)]
        if self.compiled and self._compile_loss is None:
            # The student's own loss keeps means of its parts.
            own_loss = self.student._compile_loss
            others += own_loss.metrics if own_loss is not None else []
        # After the total loss, before the compiled metrics.
        return [*others[:1], *trackers, *others[1:], self._step.count]

    def validation_logs(self, logs):
        """Returns the logs without those of training, which stand still."""
        of_training = {*self._trackers, self._step.count.name}
        return {name: log for name, log in logs.items() if name not in of_training}

    def get_metrics_result(self):
        # Compiled metrics that have not met a label yet have no result.
        return self._results(
            metric
            for metric in self.metrics
            if metric is not self._compile_metrics or metric.built
        )

    def _results(self, metrics):
        """Returns a dict of the results of metrics, under the keys of the logs."""
        keys = {id(tracker): key for key, tracker in self._trackers.items()}
        results = {}
        for metric in metrics:
            result = metric.result()
            if isinstance(result, dict):
                results.update(result)
            else:
                results[keys.get(id(metric), metric.name)] = result
        return results

    def get_config(self):
        config = {
            "teacher": self.teacher,
            "student": self._original.student,
            "methods": self.methods,
            "task_loss_weight": serialized(self.task_loss_weight),
            "teacher_preprocess": self._frozen.preprocess,
        }
        config = {
            key: keras.saving.serialize_keras_object(value)
            for key, value in config.items()
        }
        return {
            **config,
            "teacher_fingerprint": self._frozen.fingerprint(),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        fingerprint = config.pop("teacher_fingerprint", None)
        name = config.pop("name", None)
        config = {
            key: keras.saving.deserialize_keras_object(
                value, custom_objects=custom_objects
            )
            for key, value in config.items()
        }
        distiller = cls(**config, name=name)
        distiller._frozen.awaited_fingerprint = fingerprint
        return distiller

    def get_compile_config(self):
        config = super().get_compile_config()
        if not config:
            return config
        config = {
            **config,
            "jit_compile": self._step.jit_compile,
            "max_skipped_steps": self._step.max_skipped_steps,
            "preflight": self._step.preflight,
        }
        if self._compile_loss is None:
            config["student"] = self.student.get_compile_config()
        return config

    def compile_from_config(self, config):
        config = dict(config)
        student = config.pop("student", None)
        if student:
            # Keras leaves out models with a `compile` of their own, as detectors have.
            student = keras.saving.deserialize_keras_object(student)
            keras.Model.compile(self.student, **student)
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def num_label_classes(self):
        """Returns how many classes integer labels may name, or `None`.

        Only for a loss on sparse labels and a student with one output.
        """
        loss = self.loss if self._compile_loss is not None else None
        name = loss if isinstance(loss, str) else getattr(loss, "name", None)
        if name != "sparse_categorical_crossentropy":
            return None
        if getattr(loss, "ignore_class", None) is not None:
            return None  # One label that is no class is meant to be there.
        return getattr(self.output_spec, "shape", (None,))[-1]

    @property
    def feature_shapes(self):
        """List of `(teacher's, student's)` shapes of the features of every method."""
        return self._feature_shapes

    @property
    def output_names(self):
        """Names of the student's outputs, by which losses and metrics may be given."""
        return self.student.output_names

    @property
    def output_spec(self):
        """The student's outputs as `KerasTensor`s."""
        return self._student_outputs.spec
