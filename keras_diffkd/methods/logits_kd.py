"""Knowledge distillation on the logits (Hinton et al.)."""

import keras

from keras_diffkd import losses
from keras_diffkd.methods.feature_maps import check_single_taps
from keras_diffkd.methods.method import DistillationMethod


@keras.saving.register_keras_serializable(package="keras_diffkd")
class LogitsKD(DistillationMethod):
    """KL divergence of the softened class probabilities.

    Args:
        teacher_tap: `None` (the teacher's output) or the layer of its logits.
        student_tap: The same for the student.
        temperature: Positive float `τ`. The loss is multiplied by `τ²`, which
            keeps its gradient comparable with that of the task loss.
        weight: Float, weight of the loss in the total loss.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If the numbers of classes differ or the temperature is not
            positive.

    Example:

    >>> method = LogitsKD(temperature=3.0)
    >>> method.build((None, 4), (None, 4))
    >>> loss = method.compute_losses(
    ...     keras.ops.array([[5.0, 0, 0, 0]]), keras.ops.array([[0, 5.0, 0, 0]]))
    >>> round(float(loss["distill"]), 3)
    7.766

    Source: Distilling the Knowledge in a Neural Network (arXiv 1503.02531).
    """

    expects_logits = True

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        temperature=4.0,
        weight=1.0,
        name="kd",
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_single_taps(self)
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be positive. Received: temperature={temperature}"
            )
        self.temperature = temperature
        self.weight = weight

    def build(self, teacher_shape, student_shape):
        if teacher_shape[-1] != student_shape[-1]:
            raise ValueError(
                "Teacher and student must have the same number of classes for a "
                f"method on logits. Received: {teacher_shape[-1]} and "
                f"{student_shape[-1]}. Match features instead, or replace the "
                "student's classifier."
            )
        self.built = True

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        return {
            "distill": losses.kl_divergence(
                keras.ops.stop_gradient(teacher_features),
                student_features,
                self.temperature,
            )
        }

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "weight": self.weight,
        }
