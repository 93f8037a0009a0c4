"""Says which activations compute each channel from that channel alone."""

import keras

ELEMENTWISE = {
    getattr(keras.activations, name)
    for name in (
        "celu",
        "elu",
        "exponential",
        "gelu",
        "hard_shrink",
        "hard_sigmoid",
        "hard_silu",
        "hard_tanh",
        "leaky_relu",
        "linear",
        "log_sigmoid",
        "mish",
        "relu",
        "relu6",
        "selu",
        "sigmoid",
        "silu",
        "soft_shrink",
        "softplus",
        "softsign",
        "sparse_plus",
        "squareplus",
        "tanh",
        "tanh_shrink",
        "threshold",
    )
}


def fix_mixed(call, atoms):
    """Fixes the channels that the activation of a layer mixes.

    Args:
        call: `Call` of a layer with an `activation`.
        atoms: Integer array, the channels that it may mix.
    """
    activation = call.operation.activation
    if activation is not None and not is_elementwise(activation):
        name = getattr(activation, "__name__", type(activation).__name__)
        call.channels.fix(atoms, f"the activation {name!r} may mix channels")


def is_elementwise(activation):
    """Returns whether an activation is known to leave channels apart."""
    return activation in ELEMENTWISE
