"""What the losses of a training weigh, in steps that may be traced long before."""

import numbers

import keras

from keras_diffkd.keras_private.trainer import optimizer_step
from keras_diffkd.validation.arguments import check_weight, is_schedule


class LossWeights:
    """Lets every step see what the losses weigh when it begins.

    Weights are attributes of the distiller and its methods, which may change between
    two executions. What is traced would keep those of its time: so it reads numbers
    from a variable, which follows the attributes before every execution, and evaluates
    schedules at the optimizer's step, as Keras does with those of the learning rate.

    Args:
        distiller: The `Distiller`.

    Attributes:
        variable: The numbers, in the order of the losses.
        labels_left_out: Whether a step was made that learns without labels.
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
        return [0.0 if is_schedule(w) else float(w) for w in self._seen.values()]

    def are_of_another_step(self, distiller):
        """Whether the step must be made anew: what it was made with has changed."""
        weights = weights_of(distiller)
        return _schedules(weights) != _schedules(self._seen) or (
            self.labels_left_out and distiller.learns_from_labels()
        )

    def begin(self, distiller):
        """Takes the weights with which a step is made."""
        self.labels_left_out = False
        self._see(weights_of(distiller))

    def refresh(self, distiller):
        """Lets the next execution see what was changed since the last one.

        Raises:
            ValueError: If a weight is wrong, or the step that runs cannot follow it.
        """
        weights = weights_of(distiller)
        if weights == self._seen:
            return
        if self.are_of_another_step(distiller):
            raise ValueError(
                "While a training runs, a number may take the place of another number "
                "as a loss's weight. A schedule, or the first weight of labels that "
                "were left out, may be set before `fit` or between two of them. "
                f"Received: {weights} after {self._seen}"
            )
        self._see(weights)

    def _see(self, weights):
        for name, weight in weights.items():
            if name not in self._seen:
                raise ValueError(
                    f"The loss {name!r} had no weight when the Distiller was made, and "
                    f"cannot get one now. Received: {weight}. Make the Distiller with "
                    "a positive weight, and set it to 0 until it is wanted."
                )
            check_weight(f"weight of {name}", weight)
        self._seen = {name: weights[name] for name in self._seen}
        self.variable.assign(self._numbers())

    def next(self, optimizer):
        """Returns the weights of the next step, a float32 vector."""
        values = self.variable + 0.0
        schedules = _schedules(self._seen)
        if not schedules:
            return values
        weights = {**self.by_name(values), **at_step(schedules, optimizer)}
        return keras.ops.stack(list(weights.values()))

    def by_name(self, values):
        """Returns a dict from the name of every loss to its weight.

        Args:
            values: What `next` returned.
        """
        scalars = keras.ops.unstack(values, len(self._seen))
        return dict(zip(self._seen, scalars, strict=True))


def weights_of(distiller):
    """Returns what every loss weighs now, by its name in the logs."""
    of_methods = {
        f"{method.name}/{name}": weight
        for method in distiller.methods
        for name, weight in method.loss_weights.items()
    }
    return {"task_loss": distiller.task_loss_weight, **of_methods}


def at_step(weights, optimizer):
    """Returns weights with the values of schedules at the optimizer's step.

    Args:
        weights: Dict from name to number or schedule.
        optimizer: A Keras optimizer, or `None` for the first step.
    """
    return {
        name: keras.ops.cast(weight(_step(optimizer)), "float32")
        if is_schedule(weight)
        else weight
        for name, weight in weights.items()
    }


def serialized(weight):
    """Returns a weight as what a configuration can hold."""
    return (
        keras.saving.serialize_keras_object(weight) if is_schedule(weight) else weight
    )


def _step(optimizer):
    """Returns the step that schedules of the learning rate see: it counts batches."""
    if optimizer is None:
        return 0
    return optimizer_step(getattr(optimizer, "inner_optimizer", optimizer))


def _schedules(weights):
    return {name: weight for name, weight in weights.items() if is_schedule(weight)}


def numbers_of(model):
    """Returns a dict of the weights that are numbers, by owner and attribute.

    Args:
        model: Any `keras.Model`; one that is not a `Distiller` has none.
    """
    return {
        f"{prefix}{name}": float(value)
        for prefix, owner in _owners(model).items()
        for name, value in vars(owner).items()
        if name.endswith("weight")
        and isinstance(value, numbers.Real)
        and not isinstance(value, bool)
    }


def assign_numbers(model, values):
    """Sets what `numbers_of` has returned.

    Args:
        model: The same model, or one made alike.
        values: Dict from owner and attribute to number.
    """
    for prefix, owner in _owners(model).items():
        for name in list(vars(owner)):
            if f"{prefix}{name}" in values:
                setattr(owner, name, values[f"{prefix}{name}"])


def _owners(model):
    """Returns what has weights; a model's own name is another in every process."""
    if not hasattr(model, "task_loss_weight"):
        return {}
    return {"": model, **{f"{method.name}/": method for method in model.methods}}
