"""Overrides Keras's training methods for a distiller."""

import keras

from keras_diffkd.keras_private.trainer import compile_loss_of
from keras_diffkd.training import backend, logs, task_loss
from keras_diffkd.training.loss_weights import at_step, balanced_weights, weights_of
from keras_diffkd.training.step import losses_of
from keras_diffkd.training.values import Batch


class Trainer:
    """Trains, evaluates and logs a `Distiller`.

    It must precede `keras.Model` in the base classes.
    """

    def make_train_function(self, force=False):
        # All ways of training call this method, including `train_on_batch`.
        self.frozen_teacher.check_weights()
        if self.record.loss_weights.need_new_step(self):
            self.record.make_step(self)
        backend.make_train_function(self, super().make_train_function, force)

    def train_step(self, *args, **kwargs):
        return backend.train_step(self, *args, **kwargs)

    def test_step(self, *args):
        """Evaluates the student without the teacher and the methods."""
        task_loss.check_labels_for_evaluation(self, args[-1])
        return backend.test_step(self, super().test_step, *args)

    def predict_step(self, *args):
        """Runs the student without the teacher and the methods."""
        return backend.predict_step(self, super().predict_step, *args)

    def _maybe_symbolic_build(self, **kwargs):
        # Keras's TensorFlow trainer calls this before it traces a step.
        backend.symbolic_build(self, super()._maybe_symbolic_build, **kwargs)

    def jax_state_sync(self):
        # Keras's trainer on JAX calls this before anything reads the variables.
        backend.state_sync(self, super().jax_state_sync)

    def _symbolic_build(self, iterator=None, data_batch=None):
        task_loss.build_own(self, iterator, data_batch)
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    def compute_training_losses(self, x, y=None, sample_weight=None, training=True):
        """Runs both models once and computes every loss of a batch.

        Args:
            x: Batch of inputs.
            y: Batch of targets.
            sample_weight: Optional weights of the samples, for the task loss.
            training: Boolean, whether student and methods run in training mode.

        Returns:
            `(losses, y_pred)`: a dict of float32 scalars with `loss` (the
            total), `task_loss` and `<method>/<name>`, and the student's outputs.
        """
        y_pred, features = self.tapped_features(x, training=training)
        weights = weights_of(self)
        weights = {
            **at_step(weights, self.optimizer if self.compiled else None),
            **balanced_weights(self, weights),
        }
        batch = Batch(x, y, sample_weight)
        return losses_of(self, batch, y_pred, features, weights, training), y_pred

    def learns_from_labels(self):
        """Returns whether the task loss counts. If not, `fit` needs no labels."""
        # A schedule is not equal to 0, even if its first value is.
        return self.task_loss_weight != 0

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Returns the task loss of the student, or 0 if it learns without labels.

        Under a `tf.distribute` strategy, the loss is scaled for the replicas, as in
        Keras. A student's own loss counts as a mean over the samples of its replica.
        """
        if not task_loss.counts(self, y):
            return keras.ops.zeros(())
        compute, is_own = super().compute_loss, False
        if compile_loss_of(self) is None:
            compute = self.student.compute_loss
            is_own = task_loss.overrides_loss(self.student)
        return backend.loss_of_replica(
            lambda: compute(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training
            ),
            is_own,
        )

    def unscaled_loss(self, batch, y_pred, training=True):
        """Returns the task loss of this replica's samples as a float32 scalar.

        Args:
            batch: `keras_diffkd.training.values.Batch`.
            y_pred: The student's outputs.
            training: Boolean, whether to compute the loss in training mode.
        """
        loss = self.compute_loss(*batch[:2], y_pred, batch.sample_weight, training)
        return keras.ops.cast(backend.unscaled(loss), "float32")

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the compiled metrics and returns the logs.

        For a batch without labels, the logs do not contain these metrics.
        """
        if y is None:
            return logs.results(self, has_labels=False)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @property
    def metrics(self):
        return logs.all_metrics(self, super().metrics)

    def get_metrics_result(self):
        return logs.results(self)

    @property
    def output_names(self):
        """Names of the student's outputs, by which losses and metrics may be given."""
        return self.student.output_names

    @property
    def output_spec(self):
        """The student's outputs as `KerasTensor`s."""
        return self._pairs.output_spec
