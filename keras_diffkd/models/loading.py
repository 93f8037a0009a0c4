"""Any Keras classifier by a one-line specification."""

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

# What loads a preset for a task.
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
    | `applications:MobileNetV2` | of `keras.applications`, new weights |
    | `applications:MobileNetV2+imagenet` | the same with its trained weights |
    | `hub:PRESET` | KerasHub's model for the task, trained weights |
    | `hub:PRESET+new` | the same architecture, new weights |
    | `runs/one/teacher.keras` | a saved model |

    Models of the zoo, applications and presets return logits; a saved model
    returns what it returned when it was saved. A preset is a name, a handle
    (`hf://...`) or a folder; one whose head is for another number of classes, or
    that has none, gets a new head. With `+new`, only its configuration is read.
    Models of `keras.applications` and KerasHub may
    want images normalised in their own way.

    A file is not trusted: `inspect_keras_file` checks it before anything of it is
    built, and no more weights are made than it has.

    Args:
        spec: String, see above.
        input_shape: `(height, width, channels)`. Needed for the zoo; of other
            models, the shape that they must accept.
        num_classes: Integer. Needed for the zoo and for untrained models; of
            other models, the number of classes that they must have.
        task: `"classification"`, `"detection"` or `"segmentation"`: what a preset
            is loaded for.
        allow_classes: Strings. Classes that a file may name besides those of Keras,
            KerasHub and keras_diffkd, by their registered names:
            `"my_package>MyLayer"`. They must have been imported.
        allow_unsafe_formats: Boolean. Whether a file in another format that Keras
            reads (`.h5`) is opened, with a warning, without any of those checks.

    Returns:
        A `keras.Model` without optimizer and loss.

    Raises:
        ValueError: If there is no such model or file, if a preset cannot be
            downloaded, or if the model has another input shape or number of classes
            (which a subclassed model does not tell). Of a file that is damaged or
            holds what no model needs to hold, it is an `UnsafeModelError`.
        ImportError: If `spec` is a preset, or a file has classes of KerasHub, and it
            is not installed.

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
    try:
        return known[name](
            weights=weights or None,
            input_shape=input_shape,
            classes=num_classes or 1000,
            classifier_activation=None,
        )
    # A failed download is a bare Exception in Keras.
    except Exception as error:
        raise ValueError(
            f"keras.applications could not build {spec!r} for input_shape="
            f"{input_shape} and num_classes={num_classes}: {error}"
        ) from error


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
    # KerasHub, Kaggle and Hugging Face each raise errors of their own.
    except Exception as error:
        if _is_offline(error):
            raise ValueError(_offline_message(spec)) from error
        # Weights that do not fit are printed in full, all hundred thousand numbers.
        reason = textwrap.shorten(str(error), 600, placeholder=" ...")
        raise ValueError(
            f"KerasHub could not load {spec!r} as {kind.__name__} for "
            f"input_shape={input_shape} and num_classes={num_classes}: {reason}"
        ) from error


def _check_preset_exists(preset, kind):
    """Raises if this is neither a preset's name, nor a handle, nor a folder."""
    known = kind.presets
    if preset in known or "://" in preset or Path(preset).exists():
        return
    raise ValueError(
        f"KerasHub could not load 'hub:{preset}': there is no {kind.__name__} of this "
        f"name, and no such folder. {closest(preset, known)}Expected hub:NAME with one "
        f"of the {len(known)} names that sorted(keras_hub.models.{kind.__name__}."
        "presets) lists, a handle such as hub:hf://OWNER/MODEL, or hub:FOLDER with a "
        "folder that save_to_preset wrote."
    )


def _is_offline(error):
    """Whether no host was reached, as opposed to one that said no."""
    # By name: requests, httpx and Python have each their own.
    names = {"ConnectionError", "ConnectError", "Timeout", "TimeoutException"}
    return any(kind.__name__ in names for kind in type(error).__mro__)


def _offline_message(spec):
    return (
        f"KerasHub could not download {spec!r}: it is not in the cache, and its host "
        "was not reached. Connect this machine to the network once, or load the model "
        "on another machine, write it with model.save_to_preset(FOLDER), copy the "
        "folder here and give hub:FOLDER."
    )


def _new(load, spec, num_classes):
    """Builds the architecture of a preset, by default for the classes it has."""
    model = load() if num_classes is None else load(num_classes=num_classes)
    if hasattr(model, "anchor_generator"):
        repair_initial_weights(model)
    return model


def _with_head(load, spec, num_classes):
    """Loads a preset with its own head if that fits, with a new one otherwise."""
    try:
        model = load()
        if num_classes in (None, model.num_classes):
            return model
    except TypeError:  # KerasHub's way to say that there is no head.
        if num_classes is None:
            raise
    warnings.warn(
        f"{spec!r} has no head for {num_classes} classes. It gets a new one, which is "
        "not trained.",
        stacklevel=2,
    )
    return load(num_classes=num_classes)


def _require(spec, **arguments):
    missing = [name for name, value in arguments.items() if value is None]
    if missing:
        raise ValueError(
            f"{spec!r} is built from scratch and needs {' and '.join(missing)}."
        )


def _check(model, spec, input_shape, num_classes):
    """Raises if the model is not one for such images and classes."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"{spec!r} is a {type(model).__name__}, not a keras.Model.")
    if not hasattr(model, "input_shape"):
        return  # A subclassed model does not say what it takes.
    if input_shape is not None and not _matches(model.input_shape, input_shape):
        raise ValueError(
            f"{spec!r} has another input shape. Received: {model.input_shape}, "
            f"expected {(None, *input_shape)} (batch, height, width, channels). "
            "Choose another model or image size."
        )
    # A Sequential from a file has no `output`.
    is_sequential = isinstance(model, keras.Sequential)
    output = model.outputs[0] if is_sequential else model.output
    if isinstance(output, dict):  # A detector's.
        output = output.get("cls_logits", next(iter(output.values())))
    scores = tuple(getattr(output, "shape", (None,)))
    if num_classes is not None and scores[-1] not in (None, num_classes):
        raise ValueError(
            f"{spec!r} has another number of classes. Received an output of shape "
            f"{scores}, expected {num_classes} as the last axis. Was it trained on "
            "another data set?"
        )


def _matches(shape, expected):
    """Whether a shape with a batch axis fits; sizes left open fit everything."""
    return (
        isinstance(shape, tuple)
        and len(shape) == len(expected) + 1
        and all(
            None in pair or pair[0] == pair[1]
            for pair in zip(shape[1:], expected, strict=True)
        )
    )
