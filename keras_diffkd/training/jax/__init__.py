"""Implements the training step on JAX."""

from keras_diffkd.training.fake_quantization import fake_quantize
from keras_diffkd.training.jax.gradients import gradient, make_gradient_function
from keras_diffkd.training.jax.remat import checkpointed
from keras_diffkd.training.jax.step import (
    assign_generators,
    build_compiled,
    data_errors_as_value_errors,
    is_chief,
    keras_jit_compile,
    make_train_function,
    predict_step,
    read_generators,
    state_sync,
    test_step,
    train_step,
    without_gradients,
)
from keras_diffkd.training.jax.stored_values import stored_values
from keras_diffkd.training.one_graph import current_graph, is_inside
from keras_diffkd.training.one_replica import (
    assign_replicas,
    is_tracing,
    loss_of_replica,
    numbers_of_workers,
    read,
    replica_reader,
    unscaled,
)

__all__ = [
    "checkpointed",
    "current_graph",
    "is_inside",
    "assign_replicas",
    "numbers_of_workers",
    "read",
    "replica_reader",
    "loss_of_replica",
    "unscaled",
    "assign_generators",
    "build_compiled",
    "data_errors_as_value_errors",
    "fake_quantize",
    "gradient",
    "is_chief",
    "is_tracing",
    "keras_jit_compile",
    "make_gradient_function",
    "make_train_function",
    "predict_step",
    "state_sync",
    "read_generators",
    "stored_values",
    "test_step",
    "train_step",
    "without_gradients",
]
