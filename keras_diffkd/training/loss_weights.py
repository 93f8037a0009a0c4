"""Keeps loss weights up to date in steps that were traced earlier."""

import keras

from keras_diffkd.keras_private.trainer import optimizer_step
from keras_diffkd.validation.arguments import (
    check_weight,
    is_balanced,
    is_number,
    is_schedule,
)


class LossWeights:
    """Gives each step the loss weights that are set when it starts.

    Weights are attributes of the distiller and its methods, which may change between
    two executions. A traced step would keep the old weights. It therefore reads numbers
    from a variable, which is updated from the attributes before each execution, and
    evaluates schedules at the optimizer's step, as Keras does for learning rates.

    Args:
        distiller: The `Distiller`.

    Attributes:
        variable: The weights that are numbers, in the order of the losses.
        labels_left_out: Boolean, whether a step was built that learns without labels.
    """

    def __init__(self, distiller):
        self._seen = weights_of(distiller)
        self.labels_left_out = False
        self.variable = keras.Variable(
            self._numbers(),
            dtype="float32",
            trainable=False,
            autocast=False,
            name="loss_weights",
        )

    def _numbers(self):
        return [float(w) if is_number(w) else 0.0 for w in self._seen.values()]

    def need_new_step(self, distiller):
        """Returns whether the step must be rebuilt for changed weights."""
        weights = weights_of(distiller)
        return _without_numbers(weights) != _without_numbers(self._seen) or (
            self.labels_left_out and distiller.learns_from_labels()
        )

    def begin(self, distiller):
        """Stores the weights with which a step is built."""
        self.labels_left_out = False
        self._store(distiller, weights_of(distiller))

    def refresh(self, distiller):
        """Updates the weights for the next execution.

        Raises:
            ValueError: If a weight is invalid, or if the running step cannot use it.
        """
        weights = weights_of(distiller)
        if weights == self._seen:
            return
        if self.need_new_step(distiller):
            raise ValueError(
                "While `fit` runs, a loss weight can only change from one number to "
                f"another. Expected: numbers in place of {self._seen}. Received: "
                f"{weights}. Set a schedule, or the first weight of a loss of labels, "
                "before `fit` or between two calls of `fit`."
            )
        self._store(distiller, weights)

    def _store(self, distiller, weights):
        balance = distiller.loss_balance
        balanced = [] if balance is None else balance.loss_names
        for name, weight in weights.items():
            if name not in self._seen:
                raise ValueError(
                    f"The loss {name!r} had no weight when the Distiller was created, "
                    f"and cannot get one now. Received: {weight}. Create the Distiller "
                    "with a positive weight, and set it to 0 until you need the loss."
                )
            if is_balanced(weight) and name not in balanced:
                raise ValueError(
                    f"The weight of the loss {name!r} cannot become 'balanced' after "
                    f"the Distiller was created. Received: {weight!r}. Set a number, "
                    "or create a new Distiller."
                )
            check_weight(f"weight of {name}", weight, can_balance=name in balanced)
        self._seen = {name: weights[name] for name in self._seen}
        self.variable.assign(self._numbers())

    def next(self, optimizer):
        """Returns the weights of the next step as a float32 vector."""
        values = self.variable + 0.0
        schedules = {n: w for n, w in self._seen.items() if is_schedule(w)}
        if not schedules:
            return values
        weights = {**self._scalars(values), **at_step(schedules, optimizer)}
        return keras.ops.stack(list(weights.values()))

    def by_name(self, distiller, values):
        """Returns a dict from the name of each loss to its weight.

        Args:
            distiller: The `Distiller`.
            values: Vector that `next` returned.
        """
        return {**self._scalars(values), **balanced_weights(distiller, self._seen)}

    def _scalars(self, values):
        scalars = keras.ops.unstack(values, len(self._seen))
        return dict(zip(self._seen, scalars, strict=True))


def weights_of(distiller):
    """Returns a dict from the name of each loss in the logs to its current weight."""
    of_methods = {
        f"{method.name}/{name}": weight
        for method in distiller.methods
        for name, weight in method.loss_weights.items()
    }
    return {"task_loss": distiller.task_loss_weight, **of_methods}


def balanced_weights(distiller, weights):
    """Returns the current values of the weights that are `"balanced"`.

    Args:
        distiller: The `Distiller`.
        weights: Dict from the name of each loss to its weight.
    """
    names = [name for name, weight in weights.items() if is_balanced(weight)]
    if not names:
        return {}
    values = distiller.loss_balance.weights_by_name()
    return {name: values[name] for name in names}


def at_step(weights, optimizer):
    """Returns the weights, with each schedule evaluated at the optimizer's step.

    Args:
        weights: Dict from name to number or schedule. Other weights are not changed.
        optimizer: A Keras optimizer, or `None` for the first step.
    """
    return {
        name: keras.ops.cast(weight(_step(optimizer)), "float32")
        if is_schedule(weight)
        else weight
        for name, weight in weights.items()
    }


def serialized(weight):
    """Returns a weight in a form that a configuration can hold."""
    return (
        keras.saving.serialize_keras_object(weight) if is_schedule(weight) else weight
    )


def _step(optimizer):
    """Returns the step that learning rate schedules use, which counts batches."""
    if optimizer is None:
        return 0
    return optimizer_step(getattr(optimizer, "inner_optimizer", optimizer))


def _without_numbers(weights):
    return {name: weight for name, weight in weights.items() if not is_number(weight)}


def numbers_of(model):
    """Returns a dict of the weights that are numbers, by owner and attribute.

    Args:
        model: A `keras.Model`. The dict is empty if it is not a `Distiller`.
    """
    return {
        f"{prefix}{name}": float(value)
        for prefix, owner in _owners(model).items()
        for name, value in vars(owner).items()
        if name.endswith("weight") and is_number(value)
    }


def assign_numbers(model, values):
    """Restores the weights that `numbers_of` returned.

    Args:
        model: The same model, or one with the same structure.
        values: Dict from owner and attribute to number.
    """
    for prefix, owner in _owners(model).items():
        for name in list(vars(owner)):
            if f"{prefix}{name}" in values:
                setattr(owner, name, values[f"{prefix}{name}"])


def _owners(model):
    """Returns a dict from prefix to the objects with weights.

    The prefix of the model is empty, because its own name differs between processes.
    """
    if not hasattr(model, "task_loss_weight"):
        return {}
    return {"": model, **{f"{method.name}/": method for method in model.methods}}
