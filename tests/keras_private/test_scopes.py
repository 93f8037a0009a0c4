import keras
import numpy as np
import pytest
from keras.src.backend.common import global_state
from keras.src.saving.serialization_lib import SafeModeScope

from keras_diffkd.keras_private.scopes import (
    autocast_dtype,
    autocasting,
    call_context,
    calling,
    claim_losses,
    global_seed,
    in_safe_mode,
    is_symbolic,
    make_global_seed,
    own_value,
    stateless_scope,
    use_global_seed,
)


class Spy(keras.layers.Layer):
    """Remembers the value of a function when it is called."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.seen = []

    def call(self, x):
        self.seen.append(self.function())
        return x


def test_the_outermost_call():
    spy = Spy(call_context)
    model = keras.Sequential([spy])
    model(np.ones((1, 2)), training=True)
    context = spy.seen[-1]
    assert context.entry_layer is model
    assert context.training
    assert call_context() is None


def test_layers_run_as_in_a_call_of_before():
    spy = Spy(call_context)
    keras.Sequential([spy])(np.ones((1, 2)), training=True)
    before = spy.seen[-1]
    with calling(before):
        assert call_context() is before
        spy(np.ones((1, 2)))
    assert spy.seen[-1] is before
    assert call_context() is None


def test_losses_of_a_layer_in_a_stateless_scope():
    layer = Spy(lambda: None)
    with keras.StatelessScope(collect_losses=True) as scope:
        scope.add_loss(keras.ops.ones(()))
        assert layer.losses == []
        claim_losses(layer, scope.losses)
        assert len(layer.losses) == 1
        # A new call drops the losses of the one before.
        layer(np.ones((1, 2)))
        assert layer.losses == scope.losses == []


def test_the_innermost_stateless_scope():
    assert stateless_scope() is None
    with keras.StatelessScope(), keras.StatelessScope() as inner:
        assert stateless_scope() is inner


def test_shapes_are_computed_symbolically():
    spy = Spy(is_symbolic)
    spy(keras.Input((2,)))
    spy(np.ones((1, 2)))
    *symbolic, last = spy.seen
    assert all(symbolic)
    assert not last


def test_the_dtype_in_which_variables_are_read():
    spy = Spy(autocast_dtype, dtype="mixed_bfloat16")
    spy(np.ones((1, 2)))
    assert spy.seen == ["bfloat16"]
    variable = keras.Variable(1.0)
    with autocasting("float16"):
        assert keras.backend.standardize_dtype(variable.value.dtype) == "float16"
        with autocasting(None):
            value = variable.value
            assert keras.backend.standardize_dtype(value.dtype) == "float32"


def test_what_a_variable_holds_itself():
    variable = keras.Variable([1.0])
    with keras.StatelessScope([(variable, keras.ops.ones((1,)) * 2)]):
        assert float(keras.ops.convert_to_tensor(own_value(variable))[0]) == 1
        assert float(variable.value[0]) == 2


def test_the_global_seed_generator():
    before = global_seed()
    try:
        use_global_seed(None)
        assert global_seed() is None
        generator = make_global_seed()
        assert make_global_seed() is global_seed() is generator
        use_global_seed(keras.random.SeedGenerator(3))
        drawn = np.array(keras.random.uniform((4,)))
        expected = keras.random.uniform((4,), seed=keras.random.SeedGenerator(3))
        np.testing.assert_array_equal(drawn, expected)
    finally:
        use_global_seed(before)


def test_unsafe_deserialization():
    before = in_safe_mode()
    assert before is not False
    try:
        keras.config.enable_unsafe_deserialization()
        assert in_safe_mode() is False
    finally:
        global_state.set_global_attribute("safe_mode_saving", before)


@pytest.mark.parametrize("safe", [True, False])
def test_a_scope_of_safe_mode(safe):
    with SafeModeScope(safe):
        assert in_safe_mode() is safe
