"""The scope of a step: what is read and assigned in it touches no variable."""

import copy

import keras

from keras_diffkd.keras_private.scopes import call_context, global_seed

# On JAX, gradients go through what was assigned, in Keras's own trainer too.
_DIFFERENTIABLE = keras.backend.backend() == "jax"


class StepScope(keras.StatelessScope):
    """Keeps what a step assigns, to which variable soever.

    A layer may assign variables that the model does not know: Keras's global seed
    generator, a metric, a variable of a function. They are `found`, and become part
    of the state. Only what the teacher assigns is dropped: it is frozen.

    A variable that is trained may be assigned too (`SpectralNormalization` rescales its
    kernel): it has the new value from there on, and gets the gradient at that value.

    Args:
        state: Pairs of variable and value.
        trainable: Pairs likewise, of what is differentiated.
        teacher: The teacher, or `None`.
        seed: Integer folded into the seed generators that the state lacks.

    Attributes:
        found: List of the variables that were assigned though the state lacks them.
        trained: Dict from the id of each variable of `trainable` to its value.
    """

    def __init__(self, state, trainable, teacher, seed):
        # Layers hand over what they add (activity regularization) only if asked to.
        super().__init__([*state, *trainable], collect_losses=True)
        self.found = []
        self._known = {id(variable) for variable, _ in state}
        self.trained = {id(variable): value for variable, value in trainable}
        self._teacher = teacher
        self._seed = seed
        self._assigned = {}
        self._entry = {}
        self._is_reading = False

    def add_update(self, update):
        variable, value = update
        key = id(variable)
        if key not in self._known and not self._is_frozen(variable):
            self._known.add(key)
            self.found.append(variable)
        self._assigned[key] = value
        if key in self.trained:
            value = keras.ops.stop_gradient(value)
            trained = self.trained[key]
            # Zero, but for its gradient.
            value = value + (trained - keras.ops.stop_gradient(trained))
        super().add_update((variable, value))

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        key = id(variable)
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
        """Returns what a variable of the state ends with, seeds unfolded again."""
        value = self._assigned.get(id(variable), self.state_mapping.get(id(variable)))
        if value is None:
            return keras.ops.convert_to_tensor(variable.value)
        return fold(variable, value, -self._seed)

    def copy(self, values, trained):
        """Returns a scope like this one, for what runs apart or anew.

        Args:
            values: Dict from the id of variables to their values.
            trained: Dict likewise, of the variables that are trained.
        """
        scope = copy.copy(self)
        scope.state_mapping, scope.trained = dict(values), trained
        scope.losses, scope._assigned, scope._entry = [], {}, dict(values)
        return scope

    def changes(self):
        """Returns the values that differ from those that a copy began with."""
        entry = self._entry
        read = {k: v for k, v in self.state_mapping.items() if v is not entry.get(k)}
        return read, self._assigned

    def change(self, changes):
        """Takes over the `changes` of a copy."""
        read, assigned = changes
        self.state_mapping.update(read)
        self._assigned.update(assigned)

    def _is_frozen(self, variable):
        context = call_context()
        # The global generator belongs to nobody.
        in_teacher = context is not None and context.entry_layer is self._teacher
        return in_teacher and variable is not getattr(global_seed(), "state", None)


def is_seed(variable):
    """Whether a variable is the state of a seed generator."""
    return variable.path.endswith("seed_generator_state")


def fold(variable, value, seed):
    """Shifts the seed (not the counter) of a seed generator's state."""
    if not is_seed(variable):
        return value
    shift = keras.ops.cast(seed, value.dtype) * keras.ops.cast(1_000_003, value.dtype)
    return value + shift * keras.ops.convert_to_tensor([1, 0], dtype=value.dtype)
