"""Runs a step on variables themselves where values cannot pass between graphs.

TensorFlow runs the branches of `ops.cond` and the bodies of loops in graphs of their
own. A value that a layer assigns there cannot be read outside, or in the next turn of
the loop. Variables can, as in plain Keras.
"""

import keras

from keras_diffkd.keras_private.scopes import own_value


class InPlace:
    """Lends variables to a step, which assigns them inside control flow.

    The step leaves their old values in them and returns the new ones, like those of all
    other variables. So replicas can average these, and a skipped step can drop them.
    Only if an operation fails in the middle of a step do they keep its values.

    Args:
        variables: List of variables.
    """

    def __init__(self, variables):
        self.variables = {id(variable): variable for variable in variables}
        self._old = {}

    def __contains__(self, key):
        return key in self.variables

    def begin(self, first_value):
        """Assigns the values with which the step begins.

        Args:
            first_value: Callable that maps a variable and its old value to that value.
        """
        self._old = {key: self.read(key) for key in self.variables}
        for key, variable in self.variables.items():
            self.assign(key, first_value(variable, self._old[key]))

    def end(self):
        """Returns a dict from id to value, and assigns the old values."""
        new = self.values()
        for key, value in self._old.items():
            self.assign(key, value)
        return new

    def values(self):
        """Returns a dict from the ids of the variables to their values."""
        return {key: self.read(key) for key in self.variables}

    def read(self, key):
        """Returns the value of a variable now."""
        value = keras.ops.convert_to_tensor(own_value(self.variables[key]))
        return keras.ops.stop_gradient(value)

    def assign(self, key, value):
        """Assigns a variable at once."""
        own_value(self.variables[key]).assign(value)
