"""Converts images to the colors that pretrained models expect."""

import importlib
import inspect

import keras
import numpy as np

from keras_diffkd.models.hub import read_preset


def pretrained_preprocessing(spec):
    """Returns the preprocessing of a pretrained model for pixels of 0 to 255.

    Args:
        spec: String, as in `load_model`.

    Returns:
        Callable on float arrays `(batch, height, width, 3)`, or `None` if `spec` does
        not name a model with trained weights.

    Raises:
        OSError: If the configuration of a preset is not in the cache and cannot be
            downloaded.

    Example:

    >>> preprocess = pretrained_preprocessing("applications:MobileNetV2+imagenet")
    >>> preprocess(np.full((1, 1, 1, 3), 255.0)).tolist()
    [[[[1.0, 1.0, 1.0]]]]
    >>> pretrained_preprocessing("resnet20") is None
    True
    """
    if spec.startswith("hub:"):
        preset, is_new = read_preset(spec)
        return None if is_new else _hub_preprocessing(preset)
    if spec.startswith("applications:") and spec.endswith("+imagenet"):
        name = spec.removeprefix("applications:").removesuffix("+imagenet")
        for _, module in inspect.getmembers(keras.applications, inspect.ismodule):
            if hasattr(module, name) and hasattr(module, "preprocess_input"):
                return module.preprocess_input
    return None


def with_preprocessing(model, preprocess, normalization):
    """Adds a fixed layer before a model that converts the colors of its inputs.

    Args:
        model: `keras.Model` that takes images after `preprocess`.
        preprocess: Callable on pixels of 0 to 255, `(batch, height, width, 3)`. It must
            be affine in the colors of each pixel, as all of Keras's are.
        normalization: Dict with `mean` and `std`. The new model takes images normalized
            as `(pixel / 255 - mean) / std`.

    Returns:
        `keras.Model` that takes normalized images, with `model` as its last layer. To
        tap a layer inside, use `"<model name>/<layer name>"`.

    Example:

    >>> image = keras.Input((4, 4, 3))
    >>> model = keras.Model(image, keras.layers.Identity()(image), name="net")
    >>> colors = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    >>> wrapped = with_preprocessing(model, lambda pixels: pixels, colors)
    >>> float(keras.ops.max(wrapped(keras.ops.zeros((1, 4, 4, 3)))))
    127.5
    """
    mean, std = (np.array(normalization[key], "float32") for key in ("mean", "std"))
    # The images of zero and of the three unit vectors determine the affine map.
    points = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype("float32")
    pixels = (points * std + mean) * 255.0
    mapped = np.array(preprocess(pixels[:, None, None, :].copy())).reshape(4, 3)
    kernel, bias = mapped[1:] - mapped[0], mapped[0]

    conversion = keras.layers.Conv2D(3, 1, trainable=False, name="preprocessing")
    image = keras.Input(model.input_shape[1:], name="image")
    outputs = model(conversion(image))
    conversion.set_weights([kernel[None, None], bias])
    return keras.Model(image, outputs, name=f"{model.name}_with_preprocessing")


def _hub_preprocessing(preset):
    keras_hub = importlib.import_module("keras_hub")
    converter = keras_hub.layers.ImageConverter.from_preset(preset)
    scale = 1.0 if converter.scale is None else np.array(converter.scale)
    offset = 0.0 if converter.offset is None else np.array(converter.offset)
    return lambda pixels: pixels * scale + offset
