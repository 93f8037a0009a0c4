"""LogitsKD: knowledge distillation on the logits (Hinton et al.)."""

import keras

from keras_diffkd import losses
from keras_diffkd.methods.logits_method import LogitsMethod
from keras_diffkd.methods.method import config_of_arguments


@keras.saving.register_keras_serializable(package="keras_diffkd")
class LogitsKD(LogitsMethod):
    """Compares softened class probabilities by their KL divergence.

    Args:
        teacher_tap: `None` (the teacher's output) or the layer of its logits.
        student_tap: The same for the student.
        temperature: Positive float `τ`. A factor `τ²` keeps the gradient of the loss
            comparable with that of the task loss.
        standardize_logits: Whether to give each row of logits mean 0 and standard
            deviation 1 before the softmax (LSKD, arXiv 2403.01427): the student keeps
            a scale of its own. Needs three or more classes. The authors take
            `temperature=2` to 4 and `weight=9`.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
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

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        temperature=4.0,
        standardize_logits=False,
        weight=1.0,
        name="kd",
    ):
        super().__init__(
            teacher_tap,
            student_tap,
            temperature=temperature,
            weight=weight,
            name=name,
            standardize_logits=standardize_logits,
        )

    def compute_losses(
        self,
        teacher_features,
        student_features,
        targets=None,
        training=True,
        mask=None,
    ):
        teacher = keras.ops.stop_gradient(teacher_features)
        loss = losses.kl_divergence(
            teacher,
            student_features,
            self.temperature,
            mask=mask,
            standardize_logits=self.standardize_logits,
        )
        return {"distill": loss}

    def get_config(self):
        return config_of_arguments(self, LogitsKD.__init__)
