"""The operations and blocks of `int8_operations.py`."""

import keras
from keras import layers, ops

CHANNELS = 8


def student_with(operation):
    """Returns a student with an operation between two convolutions.

    Args:
        operation: Callable on a tensor `(batch, 8, 8, 8)` that holds a ReLU's results.
    """
    image = keras.Input((8, 8, 3), name="image")
    x = operation(conv(3, activation="relu", name="before")(image))
    if len(x.shape) == 4:
        x = conv(1, activation="relu", name="after")(x)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x), name="student")


def conv(size=3, channels=CHANNELS, **options):
    """Returns a convolution that keeps the size of a map."""
    return layers.Conv2D(channels, size, padding="same", **options)


def normalized(layer, activation="relu"):
    """Returns a callable: layer, batch normalization, activation."""

    def call(x):
        x = layers.BatchNormalization(momentum=0.8)(layer(x))
        return x if activation is None else layers.Activation(activation)(x)

    return call


class Block(layers.Layer):
    """A residual block that is subclassed: code outside of layers reads tensors."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = conv()
        self.normalization = layers.BatchNormalization()
        self.second = conv(1)

    def build(self, shape):
        for layer in (self.first, self.normalization, self.second):
            layer.build(shape)
        self.built = True

    def call(self, x, training=None):
        y = self.normalization(self.first(x), training=training)
        return x + self.second(ops.relu(y))


def squeeze_and_excite(x, gate="sigmoid"):
    """Multiplies channels by gates that see the whole map."""
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(4, 1, activation="relu")(y)
    y = layers.Conv2D(x.shape[-1], 1, activation=gate)(y)
    return layers.Multiply()([x, y])


def mobile_block(x):
    """An inverted residual block of MobileNetV2."""
    y = normalized(conv(1, 32, use_bias=False), "relu6")(x)
    depthwise = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    y = normalized(depthwise, "relu6")(y)
    return layers.Add()([x, normalized(conv(1, use_bias=False), None)(y)])


def efficient_block(x):
    """A block of EfficientNet, with SiLU and gates."""
    y = normalized(conv(1, 32, use_bias=False), "silu")(x)
    depthwise = layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    y = squeeze_and_excite(normalized(depthwise, "silu")(y))
    return layers.Add()([x, normalized(conv(1, use_bias=False), None)(y)])


def convnext_block(x):
    """A block of ConvNeXt, with layer normalization and GELU."""
    y = layers.LayerNormalization()(layers.DepthwiseConv2D(5, padding="same")(x))
    y = layers.Dense(CHANNELS)(layers.Dense(32, activation="gelu")(y))
    return layers.Add()([x, y])


def dense_block(x):
    """Layers of DenseNet, which read all maps before them."""
    for _ in range(3):
        y = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
        x = layers.Concatenate()([x, conv(use_bias=False)(y)])
    return x


def transformer_block(x):
    """Attention and an MLP, on the positions of the map as tokens."""
    x = layers.Reshape((64, CHANNELS))(x)
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(y, y)])
    y = layers.Dense(16, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Reshape((8, 8, CHANNELS))(
        layers.Add()([x, layers.Dense(CHANNELS)(y)])
    )


def u_net(x):
    """A level of a U-Net with a transposed convolution."""
    y = conv(activation="relu")(layers.MaxPooling2D()(x))
    y = layers.Conv2DTranspose(CHANNELS, 2, strides=2, activation="relu")(y)
    return layers.Concatenate()([x, y])


def nested(x):
    """A model inside of the model."""
    inner = keras.Input(x.shape[1:])
    return keras.Model(inner, normalized(conv(use_bias=False))(inner))(x)


def twice(x):
    """One layer that runs twice."""
    layer = conv(activation="relu")
    return layer(layer(x))


def both(layer):
    """Returns a callable that joins a map and a convolution of it by a layer."""
    return lambda x: layer([x, conv()(x)])


CASES = {
    "convolution, batch normalization, ReLU": normalized(conv(use_bias=False)),
    "the same with ReLU6": normalized(conv(use_bias=False), "relu6"),
    "convolution with a bias, batch normalization, ReLU": normalized(conv()),
    "batch normalization, ReLU, convolution": lambda x: conv()(
        layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    ),
    "strided convolution": conv(strides=2, activation="relu"),
    "dilated convolution": conv(dilation_rate=2, activation="relu"),
    "grouped convolution": conv(groups=2, activation="relu"),
    "depthwise convolution": normalized(
        layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    ),
    "separable convolution": normalized(
        layers.SeparableConv2D(8, 3, padding="same", use_bias=False)
    ),
    "transposed convolution, ReLU": layers.Conv2DTranspose(
        8, 3, strides=2, padding="same", activation="relu"
    ),
    "transposed convolution, batch normalization, ReLU": normalized(
        layers.Conv2DTranspose(8, 3, strides=2, padding="same", use_bias=False)
    ),
    "Add": both(layers.Add()),
    "Subtract": both(layers.Subtract()),
    "Multiply": both(layers.Multiply()),
    "Average": both(layers.Average()),
    "Maximum": both(layers.Maximum()),
    "Minimum": both(layers.Minimum()),
    "Concatenate": both(layers.Concatenate()),
    "MaxPooling2D": layers.MaxPooling2D(),
    "AveragePooling2D": layers.AveragePooling2D(2),
    "UpSampling2D, nearest": layers.UpSampling2D(),
    "UpSampling2D, bilinear": layers.UpSampling2D(interpolation="bilinear"),
    "ZeroPadding2D": layers.ZeroPadding2D(),
    "Rescaling": lambda x: layers.Rescaling(0.5, 0.1)(conv()(x)),
    "slices": lambda x: x[:, 1:5, ::2],
    "channel shuffle": lambda x: ops.reshape(
        ops.transpose(ops.reshape(x, (-1, 8, 8, 2, 4)), (0, 1, 2, 4, 3)), (-1, 8, 8, 8)
    ),
    "LeakyReLU": conv(activation="leaky_relu"),
    "PReLU": lambda x: layers.PReLU(shared_axes=(1, 2))(conv()(x)),
    "ELU": conv(activation="elu"),
    "sigmoid": conv(activation="sigmoid"),
    "tanh": conv(activation="tanh"),
    "SiLU": conv(activation="silu"),
    "hard swish": conv(activation="hard_swish"),
    "GELU": conv(activation="gelu"),
    "softplus": conv(activation="softplus"),
    "clip": lambda x: ops.clip(conv()(x), -1.0, 1.5),
    "softmax of channels": layers.Softmax(),
    "layer normalization": layers.LayerNormalization(),
    "group normalization": layers.GroupNormalization(2),
    "squeeze and excite": squeeze_and_excite,
    "squeeze and excite, hard sigmoid": lambda x: squeeze_and_excite(x, "hard_sigmoid"),
    "block of MobileNetV2": mobile_block,
    "block of EfficientNet": efficient_block,
    "block of ConvNeXt": convnext_block,
    "block of DenseNet": dense_block,
    "block of a transformer": transformer_block,
    "level of a U-Net": u_net,
    "model inside of the model": nested,
    "subclassed block": lambda x: Block(name="block")(x),
    "one layer that runs twice": twice,
}
