"""Floating-point operations of a training step, counted from the layers."""

import math

import keras

_WITH_KERNELS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
)


def forward_flops(model):
    """Returns the operations of a functional model's forward pass, for one sample.

    Multiplications and additions of convolutions and dense layers; what is left
    (normalization, activations) is a few per cent.
    """
    return sum(layer_flops(layer, layer.output.shape[1:-1]) for layer in model.layers)


def layer_flops(layer, positions):
    """Returns the operations of one layer for one sample.

    Args:
        layer: A Keras layer; other kinds than convolutions and dense layers count 0.
        positions: Spatial shape of its output, `(height, width)` or `()`.
    """
    if isinstance(layer, _WITH_KERNELS):
        # Every weight of the kernel is used once at each position of the output;
        # grouped and depthwise kernels are that much smaller.
        return 2 * math.prod(layer.kernel.shape) * math.prod(positions)
    return 0


def step_flops(teacher, student, methods, batch_size):
    """Returns the operations of a training step on one batch.

    The backward pass counts twice the forward pass, as usual. A denoiser runs
    `num_inference_steps` times on the student's feature and once on the teacher's.
    """
    total = forward_flops(teacher) + 3 * forward_flops(student)
    for method in methods:
        tap = method.teacher_tap
        grid = teacher.get_layer(tap).output.shape[1:-1] if tap else ()
        inside = getattr(getattr(method, "diffusion", None), "denoiser", None)
        denoiser = {id(layer) for layer in inside._flatten_layers()} if inside else ()
        for layer in method._flatten_layers():
            calls = method.num_inference_steps + 1 if id(layer) in denoiser else 1
            total += 3 * calls * layer_flops(layer, grid)
    return batch_size * total
