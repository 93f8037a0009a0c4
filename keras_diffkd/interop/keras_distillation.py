"""Uses losses of `keras.distillation` as methods."""

import warnings

import keras

from keras_diffkd.methods.method import DistillationMethod
from keras_diffkd.training.loss_weights import serialized
from keras_diffkd.training.task import snake_case
from keras_diffkd.validation.arguments import check_weight


@keras.saving.register_keras_serializable(package="keras_diffkd")
class KerasDistillation(DistillationMethod):
    """Uses a `keras.distillation.DistillationLoss` as a method.

    `Distiller` wraps such losses among its `methods` itself; wrap one yourself to give
    it a weight or a name. `LogitsDistillation` compares the outputs of the models, and
    `FeatureDistillation` the layers that it names, which may be any taps.

    Args:
        loss: A `keras.distillation.DistillationLoss` on one tensor of each model.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        name: String, prefix of the logs; by default from the loss's class, for
            example `"logits_distillation"`.

    Losses: `distill`.

    Raises:
        ValueError: If `loss` is not a `DistillationLoss`.

    Example:

    >>> loss = keras.distillation.LogitsDistillation(
    ...     temperature=3.0, loss=keras.losses.KLDivergence())
    >>> method = KerasDistillation(loss)
    >>> losses = method.compute_losses(
    ...     keras.ops.array([[5.0, 0, 0, 0]]), keras.ops.array([[0, 5.0, 0, 0]]))
    >>> round(float(losses["distill"]), 2)
    7.77
    """

    def __init__(self, loss, *, weight=1.0, name=None):
        if not isinstance(loss, keras.distillation.DistillationLoss):
            raise ValueError(
                "`loss` must be a keras.distillation.DistillationLoss. Received: "
                f"{type(loss).__name__}"
            )
        check_weight("weight", weight, can_balance=True)
        super().__init__(
            getattr(loss, "teacher_layer_name", None),
            getattr(loss, "student_layer_name", None),
            name=name or snake_case(type(loss).__name__),
        )
        _warn_if_no_divergence(loss)
        self.loss = loss
        self.weight = weight

    @property
    def expects_logits(self):
        # It applies softmax itself.
        return isinstance(self.loss, keras.distillation.LogitsDistillation)

    @property
    def loss_weights(self):
        return {"distill": self.weight}

    def compute_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        teacher = keras.ops.cast(keras.ops.stop_gradient(teacher_features), "float32")
        student = keras.ops.cast(student_features, "float32")
        self.loss.validate_outputs(teacher, student)
        return {"distill": self.loss.compute_loss(teacher, student)}

    def get_config(self):
        return {
            "loss": keras.saving.serialize_keras_object(self.loss),
            "weight": serialized(self.weight),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config):
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return super().from_config({**config, "loss": loss})


def as_methods(methods):
    """Wraps the losses of `keras.distillation` among methods, under unique names.

    Args:
        methods: Iterable of methods and `keras.distillation.DistillationLoss`es.
    """
    if not isinstance(methods, (list, tuple)):
        raise ValueError(
            "`methods` must be a list of keras_diffkd.DistillationMethod (or "
            "keras.distillation.DistillationLoss). Received: "
            f"{type(methods).__name__}. Put a single one into a list."
        )
    methods = list(methods)
    is_loss = [isinstance(m, keras.distillation.DistillationLoss) for m in methods]
    taken = {
        m.name for m, loss in zip(methods, is_loss, strict=True) if hasattr(m, "name")
    }
    for index, method in enumerate(methods):
        if not is_loss[index]:
            continue
        base = name = snake_case(type(method).__name__)
        number = 1
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        methods[index] = KerasDistillation(method, name=name)
    return methods


def _warn_if_no_divergence(loss):
    """Warns of Keras's default, which is not a divergence of probabilities."""
    if not isinstance(loss, keras.distillation.LogitsDistillation):
        return
    functions = keras.tree.flatten(loss.loss)
    if any(getattr(f, "__name__", "") == "kl_divergence" for f in functions):
        warnings.warn(
            'LogitsDistillation with loss="kl_divergence", its default, applies the '
            "divergence to the logits, not to probabilities, and has no gradient where "
            "they are negative. Use keras_diffkd.LogitsKD, or pass "
            "loss=keras.losses.KLDivergence().",
            stacklevel=4,
        )
