"""The base class of methods that compare class scores."""

import keras

from keras_diffkd.losses.standardization import check_standardizable
from keras_diffkd.methods.feature_maps import check_single_taps
from keras_diffkd.methods.method import DistillationMethod
from keras_diffkd.training.loss_weights import serialized
from keras_diffkd.validation.arguments import check_number, check_weight


@keras.saving.register_keras_serializable(package="keras_diffkd")
class LogitsMethod(DistillationMethod):
    """Base class of methods that compare the logits of teacher and student.

    Subclasses return one loss, `distill`, from `compute_losses`. They have no
    weights.

    Args:
        teacher_tap: `None` (the teacher's output) or the layer of its logits.
        student_tap: The same for the student.
        temperature: Positive float `τ`.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        name: String, prefix of the logs.
        standardize_logits: Whether the loss standardizes the logits.

    Raises:
        ValueError: If the numbers of classes, pixels or timesteps differ, or the
            temperature is not positive.
    """

    expects_logits = True

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        temperature,
        weight=1.0,
        name=None,
        standardize_logits=False,
    ):
        super().__init__(teacher_tap, student_tap, name=name)
        check_single_taps(self)
        check_number("temperature", temperature, above=0)
        check_weight("weight", weight, can_balance=True)
        self.temperature = temperature
        self.weight = weight
        self.standardize_logits = standardize_logits

    def build(self, teacher_shape, student_shape):
        if teacher_shape[-1] != student_shape[-1]:
            raise ValueError(
                "Teacher and student must have the same number of classes for a "
                f"method on logits. Received: {teacher_shape[-1]} and "
                f"{student_shape[-1]}. Match features instead, or replace the "
                "student's classifier."
            )
        check_same_positions(teacher_shape, student_shape)
        if self.standardize_logits:
            check_standardizable(teacher_shape[-1])
        self.built = True

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "weight": serialized(self.weight),
        }


def check_same_positions(teacher_shape, student_shape):
    """Raises `ValueError` unless the logits have the same positions."""
    between = tuple(teacher_shape[1:-1]), tuple(student_shape[1:-1])
    if len(between[0]) == len(between[1]) and all(
        t == s for t, s in zip(*between, strict=True) if None not in (t, s)
    ):
        return
    raise ValueError(
        "Teacher and student must give logits for the same positions: pixels, or "
        f"timesteps. Received: shapes {tuple(teacher_shape)} and "
        f"{tuple(student_shape)}. Tap outputs of the same size, or resize one inside "
        "its model."
    )
