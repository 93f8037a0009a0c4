"""What the losses of a training weigh, in steps that may be traced long before."""

import keras

from keras_diffkd.arguments import check_number


class LossWeights:
    """Lets every step see what the losses weigh when it begins.

    Weights are attributes of the distiller and its methods, which may change between
    two executions. What is traced would keep those of its time: so it reads them from
    a variable, which follows the attributes before every execution.

    Args:
        distiller: The `Distiller`.
    """

    def __init__(self, distiller):
        self._seen = weights_of(distiller)
        self.variable = keras.Variable(
            list(self._seen.values()),
            dtype="float32",
            trainable=False,
            autocast=False,
            name="loss_weights",
        )

    def refresh(self, distiller):
        """Lets the next execution see what was changed since the last one.

        Raises:
            ValueError: If a weight is wrong, or is one of a loss that had none when
                the distiller was made.
        """
        weights = weights_of(distiller)
        if weights == self._seen:
            return
        for name, weight in weights.items():
            if name not in self._seen:
                raise ValueError(
                    f"The loss {name!r} had no weight when the Distiller was made, and "
                    f"cannot get one now. Received: {weight}. Make the Distiller with "
                    "a positive weight, and set it to 0 until it is wanted."
                )
            check_number(f"weight of {name}", weight, least=0)
        self._seen = {name: weights[name] for name in self._seen}
        self.variable.assign(list(self._seen.values()))

    def next(self):
        """Returns the weights of the next step, a float32 vector."""
        return self.variable + 0.0

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
