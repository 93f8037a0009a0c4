"""Sets the weights of matching losses from the gradients of the first steps."""

import keras

from keras_diffkd.training.loss_weights import weights_of
from keras_diffkd.training.values import BalancedLosses, MatchingLoss
from keras_diffkd.validation.arguments import is_balanced

# Number of steps in which gradients are measured.
STEPS = 50
# Norm of the gradient of a weighted matching loss, relative to that of the task loss.
RATIO = 2.0
# A student has left its teacher when the matching gradient has grown by the first
# factor, and relative to the gradient of the task loss by the second one.
GROWTH, RELATIVE_GROWTH = 2.0, 4.0
# A weight rises from 1 by at most this factor in each step.
RISE = 1.4


@keras.saving.register_keras_serializable(package="keras_diffkd")
class LossBalance(keras.layers.Layer):
    """Holds the weights of the losses whose weight is `"balanced"`.

    Such a loss begins with the weight 1. Each of the first 50 steps measures two
    gradients with respect to the student's tapped features: that of the weighted task
    loss and that of the matching loss. The weight is twice the mean ratio of their
    norms so far. It does not change after these steps.

    A student that begins as its teacher has a matching gradient near 0, which says
    nothing about the loss: the ratio is huge, and such a weight would ruin the student.
    Therefore a weight rises slowly, by a factor of at most 1.4 in each step. If the
    matching gradient grows in the meantime, also relative to that of the task loss, the
    weight is 1 from then on.

    Args:
        loss_names: List of the names of the losses in the logs.
        name: Optional name of the layer.

    Source: ours.
    """

    def __init__(self, loss_names, name="loss_balance"):
        super().__init__(name=name, dtype="float32", trainable=False)
        self.loss_names = list(loss_names)
        self.ratios = self._add("ratios", "float32", len(self.loss_names))
        self.counts = self._add("counts", "int32", len(self.loss_names))
        self.first_norms = self._add("first_norms", "float32", len(self.loss_names))
        self.first_ratios = self._add("first_ratios", "float32", len(self.loss_names))
        self.has_grown = self._add("has_grown", "bool", len(self.loss_names))
        self.steps = self._add("steps", "int32")
        self.built = True

    def _add(self, name, dtype, *shape):
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            dtype=dtype,
            trainable=False,
            autocast=False,
            # All replicas compute the same value.
            aggregation="only_first_replica",
            name=name,
        )

    def losses_of(self, methods):
        """Returns pairs of method and name in the logs, in the order of `loss_names`.

        Args:
            methods: List of `DistillationMethod`s.
        """
        names = {
            f"{method.name}/{name}": method
            for method in methods
            for name in method.loss_weights
        }
        return [(names[name], name) for name in self.loss_names]

    @property
    def log_names(self):
        """Names of the weights in the logs."""
        return [log_name(name) for name in self.loss_names]

    def weights_by_name(self):
        """Returns a dict from the name of each loss to its weight, a scalar."""
        counts = keras.ops.cast(self.counts, "float32")
        weights = RATIO * self.ratios / keras.ops.maximum(counts, 1.0)
        weights = keras.ops.minimum(weights, keras.ops.power(RISE, counts))
        stays_1 = keras.ops.equal(self.counts, 0) | self.has_grown
        weights = keras.ops.where(stays_1, 1.0, weights)
        scalars = keras.ops.unstack(weights, len(self.loss_names))
        return dict(zip(self.loss_names, scalars, strict=True))

    def is_measuring(self):
        """Returns whether the next step measures gradients, as a boolean scalar."""
        return keras.ops.less(self.steps, STEPS)

    def get_config(self):
        return {"loss_names": self.loss_names, "name": self.name}


def log_name(loss_name):
    """Returns the name in the logs of the weight of a loss that is balanced."""
    return f"{loss_name}_weight"


def make_loss_balance(distiller):
    """Returns a `LossBalance`, or `None` if no weight of a method is balanced."""
    names = [n for n, weight in weights_of(distiller).items() if is_balanced(weight)]
    return LossBalance(names) if names else None


def is_balancing(distiller):
    """Returns whether steps measure gradients, which needs a student that trains."""
    is_training = bool(distiller.student.trainable_variables)
    return distiller.loss_balance is not None and is_training


def balanced_losses(distiller, losses, weights, tapped, loss_scale):
    """Returns the `BalancedLosses` of a step, or `None` if it measures no gradients.

    Args:
        distiller: The `Distiller`.
        losses: Dict of all losses.
        weights: Dict of their weights.
        tapped: `TappedTensors` of the student, `None` unless `is_balancing`.
        loss_scale: Float that keeps gradients of half precision from vanishing.
    """
    if tapped is None:
        return None
    balance = distiller.loss_balance
    scalars = [weights["task_loss"] * losses["task_loss"]]
    matching = []
    for method, name in balance.losses_of(distiller.methods):
        index = None
        others = {*method.loss_weights} - {*method.teacher_losses}
        if len(others) > 1:
            index = len(scalars)
            scalars.append(losses[name])
        of_method = tapped.tapped_by(method), tapped.branches_of(method)
        matching.append(MatchingLoss(*of_method, weights[name], index))
    scalars = [scalar * loss_scale for scalar in scalars]
    return BalancedLosses(balance.is_measuring(), scalars, tapped.tensors, matching)


def with_gradient_norms(results, of_total, gradients_of, is_conditional=True):
    """Returns the results of a step without tensors that are needed only for gradients.

    Args:
        results: `StepResults`.
        of_total: Gradients of the total loss with respect to `balanced.tensors`, `None`
            for no gradient.
        gradients_of: Callable that maps the index of a loss in `balanced.scalars` to
            its gradients with respect to these tensors.
        is_conditional: Boolean, whether steps that do not measure leave out the
            computation.

    Returns:
        `StepResults` with the squared norms of gradients: a float32 tensor of shape
        `(matching losses, 2)`, those of the task loss first. They are 0 in steps that
        do not measure.
    """
    balanced = results.balanced
    results = results._replace(features=None, balanced=None)
    if balanced is None:
        return results

    def measure():
        task = gradients_of(0)
        return keras.ops.stack(
            [
                keras.ops.stack([_squared_norm(task, loss.tapped), matching_norm(loss)])
                for loss in balanced.matching
            ]
        )

    def matching_norm(loss):
        if loss.index is not None:
            return _squared_norm(gradients_of(loss.index), loss.branches)
        return _squared_norm(of_total, loss.branches) / keras.ops.square(loss.weight)

    def skip():
        return keras.ops.zeros((len(balanced.matching), 2), "float32")

    if is_conditional:
        norms = keras.ops.cond(balanced.is_measuring, measure, skip)
    else:
        norms = keras.ops.where(balanced.is_measuring, measure(), skip())
    return results._replace(squared_norms=norms)


def balanced_state(distiller, variables, values, squared_norms):
    """Returns the state of a step after gradients were measured.

    Args:
        distiller: The `Distiller`.
        variables: List of the variables of the state.
        values: List of their values after the forward pass.
        squared_norms: Tensor that `with_gradient_norms` added to the results.
    """
    if squared_norms is None:
        return values
    balance = distiller.loss_balance
    state = {id(v): value for v, value in zip(variables, values, strict=True)}
    task, matching = keras.ops.unstack(keras.ops.sqrt(squared_norms), 2, axis=1)
    ratio = task / keras.ops.where(matching > 0, matching, 1.0)
    # Gradients may overflow, and no label of this batch may count.
    counts = (task > 0) & (matching > 0) & keras.ops.isfinite(ratio)

    def of_first_step(variable, value):
        known = state[id(variable)]
        return keras.ops.where(counts & (known == 0), value, known)

    first_norms = of_first_step(balance.first_norms, matching)
    first_ratios = of_first_step(balance.first_ratios, ratio)
    grown = (matching > GROWTH * first_norms) & (RELATIVE_GROWTH * ratio < first_ratios)
    changes = {
        id(balance.ratios): lambda value: value + keras.ops.where(counts, ratio, 0.0),
        id(balance.counts): lambda value: value + keras.ops.cast(counts, value.dtype),
        id(balance.first_norms): lambda value: first_norms,
        id(balance.first_ratios): lambda value: first_ratios,
        id(balance.has_grown): lambda value: value | (counts & grown),
        id(balance.steps): lambda value: keras.ops.minimum(value + 1, STEPS),
    }
    state |= {key: change(state[key]) for key, change in changes.items()}
    return list(state.values())


def weights_in_logs(distiller, weights):
    """Returns the weights of the losses to balance, by their name in the logs."""
    balance = distiller.loss_balance
    if balance is None:
        return {}
    names = zip(balance.log_names, balance.loss_names, strict=True)
    return {log_name: weights[name] for log_name, name in names}


def _squared_norm(gradients, indices):
    chosen = [gradients[i] for i in indices if gradients[i] is not None]
    sums = [
        keras.ops.sum(keras.ops.square(keras.ops.cast(gradient, "float32")))
        for gradient in chosen
    ]
    return sum(sums, keras.ops.zeros((), "float32"))
