"""Defines the scope of a step, which reads and assigns values instead of variables."""

import copy

import keras

from keras_diffkd.keras_private.scopes import call_context
from keras_diffkd.training import backend
from keras_diffkd.training.in_place import InPlace

# On JAX, gradients flow through assigned values, as in Keras's own trainer.
_DIFFERENTIABLE = keras.backend.backend() == "jax"


class StepScope(keras.StatelessScope):
    """Keeps all values that a step assigns, whichever variable they are for.

    A layer may assign variables that the model does not list: Keras's global seed
    generator, a metric, or a variable in a function. The scope collects them in
    `found`, and they become part of the state. Assignments by the teacher are dropped,
    because the teacher is frozen. Only its seed generators advance, so that a teacher
    that samples draws new numbers in each step, as in plain Keras.

    A layer may also assign a trained variable (`SpectralNormalization` rescales its
    kernel). The variable has the new value from then on, and its gradient is computed
    at that value.

    Args:
        state: Pairs of variable and value.
        trainable: Pairs of variable and value, for the variables to differentiate.
        teacher: The teacher, or `None`.
        seed: Integer folded into seed generators that are not in the state.
        in_place: List of variables that layers assign inside control flow.

    Attributes:
        found: List of assigned variables that are not in the state.
        found_inside: List of variables that were assigned inside control flow and are
            missing in `in_place`. These assignments were lost.
        trained: Dict from the id of each variable in `trainable` to its value.
    """

    def __init__(self, state, trainable, teacher, seed, in_place=()):
        # `collect_losses` also collects losses that layers add, as regularization.
        super().__init__([*state, *trainable], collect_losses=True)
        self.found, self.found_inside = [], []
        self._in_place = InPlace(in_place)
        self._graph = None
        self._known = {id(variable) for variable, _ in state}
        self.trained = {id(variable): value for variable, value in trainable}
        self._teacher = teacher
        self._seed = seed
        self._assigned = {}
        self._entry = {}
        self._is_reading = False

    def __enter__(self):
        self._graph = backend.current_graph()
        self._in_place.begin(self._first_value)
        return super().__enter__()

    def __exit__(self, error, *args):
        if error is None:
            self._assigned.update(self._in_place.end())
        return super().__exit__(error, *args)

    def add_update(self, update):
        variable, value = update
        key = id(variable)
        if key not in self._known and not self._is_frozen(variable):
            self._known.add(key)
            self.found.append(variable)
        if key in self._in_place:
            self._in_place.assign(key, value)
            return
        if backend.is_inside(self._graph):
            if all(variable is not other for other in self.found_inside):
                self.found_inside.append(variable)
            return
        self._assigned[key] = value
        super().add_update((variable, self._with_gradient(key, value)))

    def _with_gradient(self, key, value):
        """Returns an assigned value, with the gradient of the trained value if any."""
        if key not in self.trained:
            return value
        trained = self.trained[key]
        # Adds zero to a constant.
        return keras.ops.stop_gradient(value) + (
            trained - keras.ops.stop_gradient(trained)
        )

    def get_current_value(self, variable):
        key = id(variable)
        if key in self._in_place:
            return self._with_gradient(key, self._in_place.read(key))
        value = super().get_current_value(variable)
        if key in self._assigned and key not in self.trained and not _DIFFERENTIABLE:
            return keras.ops.stop_gradient(value)
        if value is None and is_seed(variable) and not self._is_reading:
            self._is_reading = True
            try:
                value = fold(variable, variable.value, self._seed)
            finally:
                self._is_reading = False
            self.state_mapping[id(variable)] = value
        return value

    def new_value(self, variable):
        """Returns the final value of a variable in the state, with seeds unfolded."""
        value = self._assigned.get(id(variable), self.state_mapping.get(id(variable)))
        if value is None:
            return keras.ops.convert_to_tensor(variable.value)
        return fold(variable, value, self._seed, -1)

    def values(self):
        """Returns a dict from the ids of variables to the values that layers read."""
        in_place = {
            key: self._with_gradient(key, value)
            for key, value in self._in_place.values().items()
        }
        return {**self.state_mapping, **in_place}

    def copy(self, values, trained):
        """Returns a copy of the scope, for code that runs separately or again.

        Args:
            values: Dict from the ids of variables to their values.
            trained: Dict from the ids of trained variables to their values.
        """
        scope = copy.copy(self)
        scope.state_mapping, scope.trained = dict(values), trained
        scope.losses, scope._assigned, scope._entry = [], {}, dict(values)
        scope._in_place = InPlace(self._in_place.variables.values())
        return scope

    def changes(self):
        """Returns the values that changed since the scope was copied."""
        entry = self._entry
        read = {k: v for k, v in self.state_mapping.items() if v is not entry.get(k)}
        return read, self._assigned

    def change(self, changes):
        """Applies the `changes` of a copy to this scope."""
        read, assigned = changes
        self.state_mapping.update(read)
        self._assigned.update(assigned)

    def _first_value(self, variable, value):
        """Returns the value with which a variable in place begins."""
        known = self.state_mapping.get(id(variable))
        return fold(variable, value, self._seed) if known is None else known

    def _is_frozen(self, variable):
        context = call_context()
        in_teacher = context is not None and context.entry_layer is self._teacher
        return in_teacher and not is_seed(variable)


def is_seed(variable):
    """Returns whether a variable is the state of a seed generator."""
    return variable.path.endswith("seed_generator_state")


def fold(variable, value, seed, sign=1):
    """Shifts the seed (not the counter) of a seed generator's state.

    Args:
        variable: A variable. The value of any other than such a state stays the same.
        value: Its value.
        seed: Integer, the shift.
        sign: 1, or -1 to undo the shift.
    """
    if not is_seed(variable):
        return value
    shift = keras.ops.cast(sign * seed, value.dtype)
    shift *= keras.ops.cast(1_000_003, value.dtype)
    return value + shift * keras.ops.convert_to_tensor([1, 0], dtype=value.dtype)
