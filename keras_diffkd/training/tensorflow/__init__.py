"""Implements the training step on TensorFlow."""

from keras_diffkd.training.tensorflow.build import build_compiled, symbolic_build
from keras_diffkd.training.tensorflow.fake_quantization import fake_quantize
from keras_diffkd.training.tensorflow.gradients import gradient, make_gradient_function
from keras_diffkd.training.tensorflow.graphs import current_graph, is_inside
from keras_diffkd.training.tensorflow.remat import checkpointed
from keras_diffkd.training.tensorflow.replica_values import (
    assign_replicas,
    is_chief,
    is_tracing,
    numbers_of_workers,
    read,
    replica_reader,
)
from keras_diffkd.training.tensorflow.replicas import (
    loss_of_replica,
    unscaled,
)
from keras_diffkd.training.tensorflow.step import (
    assign_generators,
    data_errors_as_value_errors,
    keras_jit_compile,
    make_train_function,
    predict_step,
    read_generators,
    test_step,
    train_step,
    without_gradients,
)
from keras_diffkd.training.tensorflow.stored_values import stored_values

__all__ = [
    "checkpointed",
    "current_graph",
    "is_inside",
    "assign_replicas",
    "is_chief",
    "is_tracing",
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
    "keras_jit_compile",
    "make_gradient_function",
    "make_train_function",
    "predict_step",
    "read_generators",
    "symbolic_build",
    "stored_values",
    "test_step",
    "train_step",
    "without_gradients",
]
