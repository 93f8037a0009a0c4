"""Parallel branches in training that merge into one convolution."""

import keras
import numpy as np

from keras_diffkd.layers.torch_like import batch_normalization


@keras.saving.register_keras_serializable(package="keras_diffkd")
class ReparameterizedConv2D(keras.layers.Layer):
    """Replaces a convolution by K parallel ones with batch normalization.

    `activation(sum_k a_k BN_k(Conv_k(x)))`, with trained coefficients `a_k` that start
    at `1 / K`. At inference this equals one convolution: see `merge_into`. If that
    convolution has no bias, the layer subtracts the constant that the moving
    statistics of the normalizations add to the sum.

    The sublayers `branch_0`, `branch_1` and so on give the branches, and `combination`
    gives their sum before that subtraction and the activation. Both give float32
    features; the layer itself follows the dtype policy of the convolution.

    The convolution's kernel regularizer acts on the kernel of every branch. Its bias
    regularizer has no effect.

    Args:
        convolution: Dict, the `get_config()` of the `Conv2D` to replace.
        num_branches: Integer `K`, at least 1.

    Input and output shape: those of the convolution, channels last.

    Raises:
        ValueError: If `num_branches` is below 1.

    Example:

    >>> convolution = keras.layers.Conv2D(8, 3, padding="same")
    >>> layer = ReparameterizedConv2D(convolution.get_config(), num_branches=4)
    >>> layer(keras.ops.ones((2, 5, 5, 3))).shape
    TensorShape([2, 5, 5, 8])
    >>> convolution.build((2, 5, 5, 3))
    >>> layer.merge_into(convolution)

    Source: the re-parameterization of RepVGG (arXiv 2101.03697), as
    KDiffusion (doi 10.1609/aaai.v38i15.29579) uses it. The coefficients and the
    treatment of the bias are our reading.
    """

    def __init__(self, convolution, num_branches):
        super().__init__(
            name=convolution["name"],
            # Only the convolutions follow the policy of the one that they replace.
            dtype="float32",
            trainable=convolution["trainable"],
            activity_regularizer=convolution["activity_regularizer"],
        )
        if num_branches < 1:
            raise ValueError(
                f"`num_branches` must be at least 1. Received: {num_branches}"
            )
        self.convolution = convolution
        self.num_branches = num_branches
        self.output_dtype = keras.dtype_policies.get(convolution["dtype"]).compute_dtype
        self.activation = keras.activations.get(convolution["activation"])
        self.branches = [
            _Branch(convolution, name=f"branch_{k}") for k in range(num_branches)
        ]
        self.combination = _Combination(name="combination")

    def build(self, input_shape):
        for branch in self.branches:
            branch.build(input_shape)
        self.combination.build([(self.num_branches,)])

    # `None` as in Keras's normalizations: a functional model writes any other default
    # into its graph, and so into the graph of the merged model.
    def call(self, inputs, training=None):
        outputs = [branch(inputs, training=training) for branch in self.branches]
        combined = self.combination(outputs)
        if not self.convolution["use_bias"]:
            constants = [branch.affine()[1] for branch in self.branches]
            combined = combined - self.combination.sum(constants)
        return self.activation(keras.ops.cast(combined, self.output_dtype))

    def split(self, convolution, seed=None):
        """Sets the branches so that together they compute a convolution.

        Noise of sum zero, as large as the kernel, makes the branches differ: equal
        branches would stay equal.

        Args:
            convolution: A built `Conv2D`.
            seed: Integer seed of the noise, or `None`.
        """
        kernel = _float64(convolution.kernel)
        noise = keras.random.normal((self.num_branches, *kernel.shape), seed=seed)
        noise = _float64(noise) * np.std(kernel)
        noise -= noise.mean(axis=0)
        for branch, deviation in zip(self.branches, noise, strict=True):
            # The divisor of the normalization before it has seen data.
            initial = np.sqrt(1.0 + branch.bn.epsilon)
            branch.conv.kernel.assign((kernel + deviation) * initial)
            if convolution.bias is not None:
                branch.bn.beta.assign(_float64(convolution.bias))

    def merge_into(self, convolution):
        """Sets the weights of a built `Conv2D` so that it computes this layer."""
        kernel, bias = 0.0, 0.0
        weights = _float64(self.combination.coefficients)
        for weight, branch in zip(weights, self.branches, strict=True):
            scale, constant = map(_float64, branch.affine())
            kernel = kernel + weight * scale * _float64(branch.conv.kernel)
            bias = bias + weight * constant
        convolution.kernel.assign(kernel)
        if convolution.bias is not None:
            convolution.bias.assign(bias)

    def get_config(self):
        return {"convolution": self.convolution, "num_branches": self.num_branches}


class _Branch(keras.layers.Layer):
    """A convolution without bias and its batch normalization."""

    def __init__(self, convolution, name):
        super().__init__(name=name, dtype="float32")
        self.conv = keras.layers.Conv2D.from_config(
            {
                **convolution,
                "name": "conv",
                "use_bias": False,
                "activation": None,
                "activity_regularizer": None,
            }
        )
        self.bn = batch_normalization(name="bn")

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.bn.build(self.conv.compute_output_shape(input_shape))

    def call(self, inputs, training=None):
        return self.bn(self.conv(inputs), training=training)

    def affine(self):
        """Returns the factor and the constant of the normalization at inference."""
        scale = self.bn.gamma / keras.ops.sqrt(
            self.bn.moving_variance + self.bn.epsilon
        )
        return scale, self.bn.beta - self.bn.moving_mean * scale


class _Combination(keras.layers.Layer):
    """The weighted sum of a list of tensors."""

    def __init__(self, name):
        super().__init__(name=name, dtype="float32")

    def build(self, shapes):
        (count,) = shapes[0]
        self.coefficients = self.add_weight(
            name="coefficients",
            shape=(count,),
            initializer=keras.initializers.Constant(1.0 / count),
        )

    def call(self, tensors):
        return self.sum(tensors)

    def sum(self, tensors):
        return sum(self.coefficients[k] * tensor for k, tensor in enumerate(tensors))


def _float64(tensor):
    return keras.ops.convert_to_numpy(tensor).astype("float64")
