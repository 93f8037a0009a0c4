"""Defines stochastic gradient descent with the weight decay of PyTorch."""

import keras


@keras.saving.register_keras_serializable(package="keras_diffkd")
class CoupledSGD(keras.optimizers.SGD):
    """Adds weight decay to the gradient of SGD, as `torch.optim.SGD` does.

    Published recipes of distillation on CIFAR and ImageNet give a weight decay for
    PyTorch, which computes `g <- g + weight_decay * w` before the momentum. Keras's
    `SGD(weight_decay=...)` shrinks the weights beside the momentum. At momentum 0.9
    that is ten times weaker in the long run.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: float in [0, 1].
        nesterov: bool, whether to use Nesterov momentum.
        coupled_weight_decay: float, at least 0; applied to all trainable weights,
            biases and batch norm included, as in PyTorch.
        **kwargs: passed to `keras.optimizers.SGD`, without `weight_decay`.

    Raises:
        ValueError: if `coupled_weight_decay` is negative, or `weight_decay` is given.

    Example:

    ```python
    optimizer = CoupledSGD(0.05, momentum=0.9, coupled_weight_decay=5e-4)
    ```
    """

    def __init__(
        self,
        learning_rate=0.01,
        momentum=0.0,
        nesterov=False,
        coupled_weight_decay=0.0,
        name="coupled_sgd",
        **kwargs,
    ):
        if coupled_weight_decay < 0:
            raise ValueError(
                "`coupled_weight_decay` must be at least 0. "
                f"Received: coupled_weight_decay={coupled_weight_decay}"
            )
        if kwargs.get("weight_decay"):
            raise ValueError(
                "`weight_decay` is the decoupled decay of Keras: pass "
                f"`coupled_weight_decay`. Received: {kwargs['weight_decay']}"
            )
        super().__init__(learning_rate, momentum, nesterov, name=name, **kwargs)
        self.coupled_weight_decay = coupled_weight_decay

    def update_step(self, gradient, variable, learning_rate):
        decay = keras.ops.cast(self.coupled_weight_decay, variable.dtype)
        gradient = keras.ops.cast(gradient, variable.dtype)
        decayed = keras.ops.add(gradient, keras.ops.multiply(decay, variable))
        super().update_step(decayed, variable, learning_rate)

    def get_config(self):
        config = super().get_config()
        config["coupled_weight_decay"] = self.coupled_weight_decay
        return config
