"""DKD: compares the target class and the other classes apart."""

import keras

from keras_diffkd import losses
from keras_diffkd.methods.logits_method import LogitsMethod
from keras_diffkd.methods.method import config_of_arguments
from keras_diffkd.validation.arguments import check_number


@keras.saving.register_keras_serializable(package="keras_diffkd")
class DKD(LogitsMethod):
    """Decouples the target class from the other classes. Needs class labels.

    Args:
        teacher_tap: `None` (the teacher's output) or the layer of its logits.
        student_tap: The same for the student.
        alpha: Float, weight of the target-class part (TCKD).
        beta: Float, weight of the non-target part (NCKD).
        temperature: Positive float `τ`; the loss is multiplied by `τ²`.
        standardize_logits: Whether to give each row of logits mean 0 and standard
            deviation 1 before the softmax (LSKD, arXiv 2403.01427): the student keeps
            a scale of its own. Needs three or more classes. The authors take
            `temperature=2` or 3 and `weight=9` to 18.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If the numbers of classes differ, the temperature is not
            positive, or a training has no labels.

    Example:

    >>> method = DKD()
    >>> method.build((None, 3), (None, 3))
    >>> logits = keras.ops.array([[2.0, 0.0, 1.0]])
    >>> loss = method.compute_losses(logits, logits, targets=keras.ops.array([0]))
    >>> abs(float(loss["distill"])) < 1e-5
    True

    The authors' code raises the weight over the first 20 epochs,
    `min(epoch / 20, 1)`. A Keras schedule raises it step by step:

    >>> warm_up = keras.optimizers.schedules.PolynomialDecay(
    ...     0.0, decay_steps=20 * 390, end_learning_rate=1.0)
    >>> method = DKD(weight=warm_up)
    >>> float(warm_up(0)), float(warm_up(10 * 390)), float(warm_up(99 * 390))
    (0.0, 0.5, 1.0)

    Source: Decoupled Knowledge Distillation (arXiv 2203.08679, eq. 7).
    """

    needs_targets = True

    def __init__(
        self,
        teacher_tap=None,
        student_tap=None,
        *,
        alpha=1.0,
        beta=8.0,
        temperature=4.0,
        standardize_logits=False,
        weight=1.0,
        name="dkd",
    ):
        super().__init__(
            teacher_tap,
            student_tap,
            temperature=temperature,
            weight=weight,
            name=name,
            standardize_logits=standardize_logits,
        )
        check_number("alpha", alpha, least=0)
        check_number("beta", beta, least=0)
        self.alpha = alpha
        self.beta = beta

    def compute_losses(
        self,
        teacher_features,
        student_features,
        targets=None,
        training=True,
        mask=None,
    ):
        loss = losses.dkd(
            keras.ops.stop_gradient(teacher_features),
            student_features,
            targets,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            mask=mask,
            standardize_logits=self.standardize_logits,
        )
        return {"distill": loss}

    def get_config(self):
        return config_of_arguments(self, DKD.__init__)
