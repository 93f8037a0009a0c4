"""TTM and WTTM: the teacher has a temperature, and the student has none."""

import keras

from keras_diffkd import losses
from keras_diffkd.methods.logits_method import LogitsMethod
from keras_diffkd.methods.method import config_of_arguments


@keras.saving.register_keras_serializable(package="keras_diffkd")
class TTM(LogitsMethod):
    """Transformed teacher matching: softens the teacher's probabilities alone.

    The student learns softened probabilities as its own, so that its loss also keeps
    it from too much certainty. WTTM (`weighted=True`) gives more weight to samples of
    which the teacher is not certain.

    Args:
        teacher_tap: `None` (the teacher's output) or the layer of its logits.
        student_tap: The same for the student.
        temperature: Positive float `τ` of the teacher, `1 / γ` in the paper. The
            authors take 5 to 10 on CIFAR-100. The loss has no factor `τ²`.
        weighted: Whether to weigh the samples (WTTM).
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
            The authors' example for CIFAR-100 has 45.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If the numbers of classes differ or the temperature is not
            positive.

    Example:

    >>> method = TTM(temperature=5.0, weighted=True)
    >>> method.build((None, 4), (None, 4))
    >>> teacher = keras.ops.array([[5.0, 0, 0, 0]])
    >>> loss = method.compute_losses(teacher, teacher / 5)
    >>> abs(float(loss["distill"])) < 1e-6
    True

    Source: Knowledge Distillation Based on Transformed Teacher Matching (ICLR 2024,
    arXiv 2402.11148) and the authors' code.
    """

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        temperature=4.0,
        weighted=False,
        weight=1.0,
        name="ttm",
    ):
        super().__init__(
            teacher_tap, student_tap, temperature=temperature, weight=weight, name=name
        )
        self.weighted = weighted

    def compute_losses(
        self,
        teacher_features,
        student_features,
        targets=None,
        training=True,
        mask=None,
    ):
        loss = losses.ttm(
            keras.ops.stop_gradient(teacher_features),
            student_features,
            temperature=self.temperature,
            weighted=self.weighted,
            mask=mask,
        )
        return {"distill": loss}

    def get_config(self):
        return config_of_arguments(self, TTM.__init__)
