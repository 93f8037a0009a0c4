"""Loads or builds any Keras model from a one-line specification."""

import functools
import inspect
import textwrap
import warnings
from pathlib import Path

import keras

from keras_diffkd.models.files.opening import (
    check_preset_folder,
    is_other_format,
    load_file,
    load_other_format,
)
from keras_diffkd.models.hub import read_preset
from keras_diffkd.models.retinanet import repair_initial_weights
from keras_diffkd.models.zoo import ZOO, build_model, check_image_classes, closest
from keras_diffkd.validation.packages import import_keras_hub

_IMAGENET_CLASSES = 1000
# The class that loads a preset for each task.
HUB_CLASSES = {
    "classification": "ImageClassifier",
    "detection": "ObjectDetector",
    "segmentation": "ImageSegmenter",
}


def load_model(
    spec,
    *,
    input_shape=None,
    num_classes=None,
    task="classification",
    allow_classes=(),
    allow_unsafe_formats=False,
):
    """Builds or loads the model that a specification names.

    | `spec` | model |
    | --- | --- |
    | `resnet20` | a model of the zoo, new weights (see `build_model`) |
    | `applications:MobileNetV2` | a model of `keras.applications`, new weights |
    | `applications:MobileNetV2+imagenet` | the same model, trained weights |
    | `hub:PRESET` | KerasHub's model for the task, trained weights |
    | `hub:PRESET+new` | the same architecture, new weights |
    | `runs/one/teacher.keras` | a saved model |

    Models of the zoo, applications and presets return logits. A saved model returns the
    same outputs as before it was saved. A preset is a name, a handle (`hf://...`) or a
    folder. If it has no head, or a head for another number of classes, it gets a new
    head; so does a trained application for other than 1000 classes. With `+new`, only
    its configuration is read. Models of `keras.applications` and KerasHub may need
    images that are normalized in their own way.

    Files are not trusted: `inspect_keras_file` checks a file before any part of it is
    built, and the model cannot have more weights than the file.

    Args:
        spec: String, see above.
        input_shape: `(height, width, channels)`. It is required for the zoo. Other
            models must accept this shape.
        num_classes: Integer. It is required for the zoo and for untrained models. Other
            models must have this number of classes.
        task: `"classification"`, `"detection"` or `"segmentation"`, the task of a
            preset.
        allow_classes: Strings, the registered names of classes that a file may use in
            addition to those of Keras, KerasHub and keras_diffkd:
            `"my_package>MyLayer"`. Import them first.
        allow_unsafe_formats: Boolean, whether to open a file in another format that
            Keras reads (`.h5`), with a warning and without any checks.

    Returns:
        A `keras.Model` without optimizer and loss.

    Raises:
        ValueError: If the model or file does not exist, if a preset cannot be
            downloaded, or if the model has another input shape or number of classes
            (which is unknown for a subclassed model).
        UnsafeModelError: If a file is damaged or holds unsafe content. It is a
            `ValueError`.
        ImportError: If KerasHub is not installed, and `spec` is a preset or a file has
            classes of KerasHub.

    Example:

    >>> load_model("resnet8x4", input_shape=(32, 32, 3), num_classes=10).output_shape
    (None, 10)
    """
    if not isinstance(spec, str):
        raise ValueError(f"`spec` must be a string. Received: spec={spec!r}")
    check_image_classes(input_shape, num_classes)
    if spec.startswith("applications:"):
        model = _load_application(spec, input_shape, num_classes)
    elif spec.startswith("hub:"):
        model = _load_preset(spec, input_shape, num_classes, task, allow_classes)
    elif spec.endswith(".keras"):
        model = load_file(spec, allow_classes)
    elif spec not in ZOO and is_other_format(spec):
        model = load_other_format(spec, allow_unsafe_formats)
    else:
        return _build_from_zoo(spec, input_shape, num_classes)
    _check(model, spec, input_shape, num_classes)
    return model


def _build_from_zoo(spec, input_shape, num_classes):
    if spec not in ZOO:
        raise ValueError(
            f"Unknown model. Received: {spec!r}. {closest(spec, ZOO)}Expected a model "
            f"of the zoo ({', '.join(ZOO)}), 'applications:NAME', 'hub:PRESET', or "
            "the path of a .keras file."
        )
    _require(spec, input_shape=input_shape, num_classes=num_classes)
    return build_model(spec, input_shape, num_classes)


def _load_application(spec, input_shape, num_classes):
    name, _, weights = spec.removeprefix("applications:").partition("+")
    known = dict(inspect.getmembers(keras.applications, inspect.isfunction))
    if name not in known or weights not in ("", "imagenet"):
        raise ValueError(
            f"Unknown model of keras.applications. Received: {spec!r}. "
            f"{closest(name, known)}Expected applications:NAME or "
            f"applications:NAME+imagenet, with NAME one of: {', '.join(known)}."
        )
    if not weights:
        _require(spec, num_classes=num_classes)
    build = functools.partial(
        known[name], weights=weights or None, input_shape=input_shape
    )
    try:
        if weights and num_classes not in (None, _IMAGENET_CLASSES):
            _warn_of_new_head(spec, num_classes)
            return _with_logits(build(include_top=False, pooling="avg"), num_classes)
        return build(
            classes=num_classes or _IMAGENET_CLASSES, classifier_activation=None
        )
    # Keras raises a bare Exception if a download fails.
    except Exception as error:
        raise ValueError(
            f"keras.applications could not build {spec!r} for input_shape="
            f"{input_shape} and num_classes={num_classes}: {error}"
        ) from error


def _with_logits(model, num_classes):
    """Adds a new head, a dense layer on the pooled features of a model."""
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")
    return keras.Model(model.input, logits(model.output), name=model.name)


def _load_preset(spec, input_shape, num_classes, task, allow_classes):
    keras_hub = import_keras_hub(f"{spec!r}")
    kind = getattr(keras_hub.models, HUB_CLASSES[task])
    preset, is_new = read_preset(spec)
    _check_preset_exists(preset, kind)
    if Path(preset).is_dir():
        check_preset_folder(preset, allow_classes)
    options = {"preprocessor": None, "activation": None, "load_weights": not is_new}
    if input_shape is not None:
        options["image_shape"] = tuple(input_shape)
    load = functools.partial(kind.from_preset, preset, **options)
    try:
        return (_new if is_new else _with_head)(load, spec, num_classes)
    # KerasHub, Kaggle and Hugging Face raise different errors.
    except Exception as error:
        if _is_offline(error):
            raise ValueError(_offline_message(spec)) from error
        # The error for weights that do not fit prints all of their numbers.
        reason = textwrap.shorten(str(error), 600, placeholder=" ...")
        raise ValueError(
            f"KerasHub could not load {spec!r} as {kind.__name__} for "
            f"input_shape={input_shape} and num_classes={num_classes}: {reason}"
        ) from error


def _check_preset_exists(preset, kind):
    """Raises `ValueError` unless this is the name of a preset, a handle or a folder."""
    known = kind.presets
    if preset in known or "://" in preset or Path(preset).exists():
        return
    raise ValueError(
        f"KerasHub could not load 'hub:{preset}': it is not the name of an available "
        f"{kind.__name__} or a folder. {closest(preset, known)}Expected hub:NAME with "
        f"one of the {len(known)} names in sorted(keras_hub.models.{kind.__name__}."
        "presets), a handle such as hub:hf://OWNER/MODEL, or hub:FOLDER with a folder "
        "that save_to_preset wrote."
    )


def _is_offline(error):
    """Returns whether an error means that no host was reached."""
    # Compares names, because requests, httpx and Python have their own classes.
    names = {"ConnectionError", "ConnectError", "Timeout", "TimeoutException"}
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _offline_message(spec):
    return (
        f"KerasHub could not download {spec!r}: it is not in the cache, and its host "
        "was not reached. Connect this machine to the network once. Or load the model "
        "on another machine, save it with model.save_to_preset(FOLDER), copy the "
        "folder here and pass hub:FOLDER."
    )


def _new(load, spec, num_classes):
    """Builds the architecture of a preset, by default for its own classes."""
    model = load() if num_classes is None else load(num_classes=num_classes)
    if hasattr(model, "anchor_generator"):
        repair_initial_weights(model)
    return model


def _with_head(load, spec, num_classes):
    """Loads a preset with its own head if it fits, or else with a new one."""
    try:
        model = load()
        if num_classes in (None, model.num_classes):
            return model
    except TypeError:  # KerasHub raises this if the preset has no head.
        if num_classes is None:
            raise
    _warn_of_new_head(spec, num_classes)
    return load(num_classes=num_classes)


def _warn_of_new_head(spec, num_classes):
    warnings.warn(
        f"{spec!r} has no head for {num_classes} classes. It gets a new head, which is "
        "not trained: train it before you use it as a teacher.",
        stacklevel=3,
    )


def _require(spec, **arguments):
    missing = [name for name, value in arguments.items() if value is None]
    if missing:
        raise ValueError(
            f"{spec!r} is built from scratch and needs {' and '.join(missing)}. Pass "
            f"{'it' if len(missing) == 1 else 'both'} to `load_model`."
        )


def _check(model, spec, input_shape, num_classes):
    """Raises `ValueError` if the model does not suit the images or classes."""
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{spec!r} must be a keras.Model. Received: {type(model).__name__}. Save "
            "the whole model with model.save('NAME.keras')."
        )
    if not hasattr(model, "input_shape"):
        return  # The input shape of a subclassed model is unknown.
    if input_shape is not None and not _matches(model.input_shape, input_shape):
        raise ValueError(
            f"{spec!r} has another input shape. Received: {model.input_shape}, "
            f"expected {(None, *input_shape)} (batch, height, width, channels). "
            "Use another model or image size."
        )
    # A `Sequential` that was loaded from a file has no `output`.
    is_sequential = isinstance(model, keras.Sequential)
    output = model.outputs[0] if is_sequential else model.output
    if isinstance(output, dict):  # The output of a detector.
        output = output.get("cls_logits", next(iter(output.values())))
    scores = tuple(getattr(output, "shape", (None,)))
    if num_classes is not None and scores[-1] not in (None, num_classes):
        raise ValueError(
            f"{spec!r} has another number of classes. Received: an output of shape "
            f"{scores}, expected {num_classes} as the last axis. Check that it was "
            "trained on this data set."
        )


def _matches(shape, expected):
    """Returns whether a shape with a batch axis fits. Unknown sizes always fit."""
    return (
        isinstance(shape, tuple)
        and len(shape) == len(expected) + 1
        and all(
            None in pair or pair[0] == pair[1]
            for pair in zip(shape[1:], expected, strict=True)
        )
    )
