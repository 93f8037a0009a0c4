"""DIST: compares relations of classes and of samples instead of values."""

import keras

from keras_diffkd import losses
from keras_diffkd.methods.logits_method import LogitsMethod
from keras_diffkd.methods.method import config_of_arguments
from keras_diffkd.validation.arguments import check_number


@keras.saving.register_keras_serializable(package="keras_diffkd")
class DIST(LogitsMethod):
    """Compares correlations of class probabilities, within samples and classes.

    Args:
        teacher_tap: `None` (the teacher's output) or the layer of its logits.
        student_tap: The same for the student.
        beta: Float, weight of the correlation over the classes of a sample.
        gamma: Float, weight of the correlation over the samples of a class.
        temperature: Positive float `τ`; the loss is multiplied by `τ²`.
        standardize_logits: Whether to give each row of logits mean 0 and standard
            deviation 1 before the softmax (LSKD, arXiv 2403.01427): the student keeps
            a scale of its own. Needs three or more classes. The authors do not
            try it with DIST.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If the numbers of classes differ or the temperature is not
            positive.

    Example:

    >>> method = DIST()
    >>> method.build((None, 3), (None, 3))
    >>> logits = keras.ops.array([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    >>> abs(float(method.compute_losses(logits, logits)["distill"])) < 1e-5
    True

    Source: Knowledge Distillation from A Stronger Teacher
    (arXiv 2205.10536, eq. 8 to 10).
    """

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        beta=1.0,
        gamma=1.0,
        temperature=1.0,
        standardize_logits=False,
        weight=1.0,
        name="dist",
    ):
        super().__init__(
            teacher_tap,
            student_tap,
            temperature=temperature,
            weight=weight,
            name=name,
            standardize_logits=standardize_logits,
        )
        check_number("beta", beta, least=0)
        check_number("gamma", gamma, least=0)
        self.beta = beta
        self.gamma = gamma

    def compute_losses(
        self,
        teacher_features,
        student_features,
        targets=None,
        training=True,
        mask=None,
    ):
        loss = losses.dist(
            keras.ops.stop_gradient(teacher_features),
            student_features,
            beta=self.beta,
            gamma=self.gamma,
            temperature=self.temperature,
            mask=mask,
            standardize_logits=self.standardize_logits,
        )
        return {"distill": loss}

    def get_config(self):
        return config_of_arguments(self, DIST.__init__)
