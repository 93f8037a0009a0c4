"""Checks the classes that a model file names before any of them is built."""

import importlib
import inspect
import sys

import keras

from keras_diffkd.errors import UnsafeModelError
from keras_diffkd.validation.packages import import_keras_hub

# Real models have about 11 levels, and each model inside a model adds 4.
MAX_DEPTH = 64
# Sizes of layers, images and vocabularies are smaller. A larger number may take all
# memory, because some classes create a list with as many items as the config says.
MAX_INTEGER = 2**24
# The classes of Keras and KerasHub that a file may name: these and their subclasses.
# All layers and everything in `keras.ops` are `Operation`s.
_BASES = (
    keras.Operation,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.dtype_policies.DTypePolicy,
    keras.dtype_policies.DTypePolicyMap,
    keras.quantizers.Quantizer,
    keras.quantizers.QuantizationConfig,
    keras.random.SeedGenerator,
    keras.distillation.DistillationLoss,
)
# These classes run code in the file or code that it points to, and are never allowed.
_RUN_CODE = (
    keras.layers.Lambda,
    keras.layers.TFSMLayer,
    keras.layers.TorchModuleWrapper,
    keras.layers.JaxLayer,
    keras.layers.FlaxLayer,
)
# These classes and their subclasses read files whose path is in the config. They are
# given by name, because KerasHub may be missing. No image model needs them.
_READ_FILES = {"IndexLookup", "TextVectorization", "Tokenizer"}
# The modules in which Keras looks for a class whose config has no module.
_FAMILIES = (
    keras,
    keras.layers,
    keras.initializers,
    keras.regularizers,
    keras.constraints,
    keras.losses,
    keras.metrics,
    keras.optimizers,
    keras.optimizers.schedules,
    keras.dtype_policies,
    keras.quantizers,
)
# The modules of keras_diffkd that register layers and models, but that it does not
# import, because they need KerasHub.
_NEED_KERAS_HUB = ("keras_diffkd.models.shrunk_retinanet",)
_PACKAGES = ("keras", "keras_hub", "keras_diffkd")
_FUNCTION_MODULES = (keras.activations, keras.losses, keras.metrics)
_NOT_MATHEMATICS = {"serialize", "deserialize", "get"}
# Names that stand for plain values.
_VALUES = {"__keras_tensor__", "__bytes__", "__slice__", "__ellipsis__"}
_DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
}


def check_classes(config, allow_classes=()):
    """Raises `UnsafeModelError` unless all classes in a config are allowed.

    Allowed are the layers, models, operations, initializers, regularizers, constraints,
    losses, metrics, optimizers, dtype policies and quantizers of Keras and KerasHub,
    the functions of `keras.activations`, `keras.losses` and `keras.metrics`, and
    everything that keras_diffkd registers. Not allowed are classes that run code
    (`Lambda`, `TFSMLayer`, `TorchModuleWrapper`, `JaxLayer`, `FlaxLayer`) or read files
    (lookup layers, tokenizers). Names are resolved as Keras resolves them, but only in
    modules that are already imported and in this package. Nothing is built or called.

    Args:
        config: Parsed content of `config.json`. `"compile_config"` of the outermost
            object is not checked, because loading with `compile=False` does not use it.
        allow_classes: Additional names, as `keras.saving.get_registered_name` returns
            them (`"my_package>MyLayer"`), or `"module>Name"` for a class of Keras.

    Raises:
        UnsafeModelError: Names the first class that is not allowed and its place.

    Example:

    >>> dense = keras.saving.serialize_keras_object(keras.layers.Dense(2))
    >>> check_classes(dense)
    """
    names = frozenset(allow_classes)
    if isinstance(config, dict):
        config = {key: config[key] for key in config if key != "compile_config"}
    _check(config, names, ("config.json",))


def _check(value, names, place):
    """Checks a value. `place` holds the keys that lead to it."""
    if len(place) > MAX_DEPTH:
        raise UnsafeModelError(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        if value.get("class_name") in ("__numpy__", "__tensor__"):
            _check_array(value, place)
            return
        if "class_name" in value:
            _check_object(value, names, place)
        for key, child in value.items():
            _check(child, names, (*place, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check(child, names, (*place, str(index)))
    elif isinstance(value, str):
        # Keras resolves a string to the object that is registered by that name.
        _check_registered(value, names, place)
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        _check_large(value, place)


def _check_large(value, place):
    # Seeds and the ids of shared objects are not sizes.
    if not place[-1].endswith(("seed", "shared_object_id")):
        raise UnsafeModelError(
            f"the number {value} at {_format(place)} is too large for a size"
        )


def _check_registered(name, names, place):
    found = keras.saving.get_registered_object(name)
    if found is not None and not _is_allowed(found, name, names):
        raise _refusal(name, place)


def _check_object(config, names, place):
    name = config["class_name"]
    others = (config.get("module"), config.get("registered_name"))
    if not isinstance(name, str) or any(not isinstance(x, str | None) for x in others):
        raise UnsafeModelError(f"the name at {_format(place)} is not a string")
    if name in _VALUES:
        return
    if name == "function":
        _check_function(config, names, place)
        return
    label = _label(config)
    found = _resolve(config)
    if found is None and label in names:
        raise UnsafeModelError(
            f"the class {label!r} at {_format(place)} is allowed but not registered. "
            "Import the module that registers it first (on the command line, pass "
            f"--allow_classes=MODULE:{label})"
        )
    if found is None or not _is_allowed(found, label, names):
        raise _refusal(label, place)


def _check_array(config, place):
    inner = config.get("config")
    dtype = inner.get("dtype") if isinstance(inner, dict) else None
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise UnsafeModelError(f"the array at {_format(place)} has dtype {dtype!r}")


def _check_function(config, names, place):
    name = config.get("config")
    if not isinstance(name, str):
        raise UnsafeModelError(f"the name at {_format(place)} is not a string")
    # The check of strings handles registered functions.
    is_registered = keras.saving.get_registered_object(name) is not None
    if not is_registered and not _is_mathematics(name, config.get("module")):
        raise _refusal(f"{config.get('module')}>{name}", place, "function")


def _is_mathematics(name, module):
    if name in _NOT_MATHEMATICS or name.startswith("_"):
        return False
    return any(
        module in ("builtins", known.__name__)
        and inspect.isfunction(getattr(known, name, None))
        for known in _FUNCTION_MODULES
    )


def _resolve(config):
    """Returns the object that Keras finds for a name, or `None`, without imports."""
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name") or name
    package = (module or "").partition(".")[0]
    if package == "keras_hub":
        import_keras_hub("This model file")
    if module in _NEED_KERAS_HUB:
        importlib.import_module(module)
    found = keras.saving.get_registered_object(registered)
    # A class that is not registered has its own name as `registered_name`.
    if found is not None or registered != name:
        return found
    if module is None:
        known = (getattr(family, name, None) for family in _FAMILIES)
        return next((item for item in known if inspect.isclass(item)), None)
    if package in _PACKAGES and module in sys.modules:
        return vars(sys.modules[module]).get(name)
    return None


def _is_allowed(found, label, names):
    if not inspect.isclass(found):
        return label in names
    if issubclass(found, _RUN_CODE):
        return False
    if label in names:
        return True
    package = found.__module__.partition(".")[0]
    if package == "keras_diffkd":
        return True
    if any(base.__name__ in _READ_FILES for base in found.__mro__):
        return False
    return package in _PACKAGES and issubclass(found, _BASES)


def _label(config):
    registered = config.get("registered_name")
    if isinstance(registered, str) and ">" in registered:
        return registered
    return f"{config.get('module')}>{config['class_name']}"


def _refusal(label, place, kind="class"):
    advice = (
        f" (if it is yours, allow it by name: allow_classes=[{label!r}], or "
        f"--allow_classes=MODULE:{label} on the command line)"
    )
    return UnsafeModelError(
        f"the {kind} {label!r} at {_format(place)} is not allowed in model files"
        f"{advice if kind == 'class' else ''}"
    )


def _format(place):
    path = "/".join(place)
    return path if len(path) < 200 else f"...{path[-200:]}"
