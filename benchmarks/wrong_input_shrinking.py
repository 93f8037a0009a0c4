"""Teachers and arguments that `shrink` cannot use."""

import keras
import numpy as np
from wrong_input_models import Case, network

from keras_diffkd import shrink


class Subclassed(keras.Model):
    """A model without a graph."""

    def __init__(self):
        super().__init__(name="mine")
        self.dense = keras.layers.Dense(10)
        self.build((None, 4))

    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        return self.dense(x)


class NoConfig(keras.layers.Layer):
    """A layer that cannot be built again."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)

    def call(self, x):
        return x


def layer_without_config():
    """Returns a model with such a layer."""
    x = keras.Input((4,))
    y = NoConfig(object(), name="mine")(keras.layers.Dense(16)(x))
    y = keras.layers.Dense(16)(y)
    return keras.Model(x, keras.layers.Dense(2)(y), name="odd")


def shared_by_others():
    """Returns a model whose shared layer sees an output of the model."""
    x = keras.Input((16,))
    shared = keras.layers.Dense(16, name="shared")
    return keras.Model(x, shared(shared(x)), name="circle")


def of_nan():
    """Returns a model with a weight that is NaN."""
    model = network(16)
    model.layers[-1].bias.assign(np.full(10, np.nan))
    return model


def case(given, says, teacher=lambda: network(16), **arguments):
    """Returns a `Case` of a teacher and the arguments of `shrink`."""
    return Case(given, says, lambda: shrink(teacher(), **arguments), None)


SHRINKING = [
    case("`width=0`, which leaves no channel", "above 0 and up to 1", width=0),
    case("`width=2`", "above 0 and up to 1", width=2),
    case("`width` and a limit", "Pass `width` or one of", width=0.5, max_kilobytes=9),
    case("`width=0.9` of layers of 16 channels", "all layers keep whole", width=0.9),
    case("`max_parameters=10`", "cannot be met: the smallest", max_parameters=10),
    case("`importance='l3'`", "must be one of", width=0.5, importance="l3"),
    case("`importance='taylor'` alone", "needs `data`", width=0.5, importance="taylor"),
    case("`keep=['stem']` without a stem", "must name lay", width=0.5, keep="stem"),
    case("a subclassed model", "a subclassed model", Subclassed, width=0.5),
    case(
        "a layer whose configuration does not build it",
        "'mine' .NoConfig., which fails",
        layer_without_config,
        width=0.5,
    ),
    case(
        "a layer that is shared by an output and what is before it",
        "no channels that can be removed.*shared",
        shared_by_others,
        width=0.5,
    ),
    case("weights that are NaN", "must be finite", of_nan, width=0.5),
]
