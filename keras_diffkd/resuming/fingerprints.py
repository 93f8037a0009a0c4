"""Computes fingerprints that must match for a training to be resumed."""

import hashlib
import json
import re
import warnings

import keras
import numpy as np

# Keras numbers layers by the number of layers created before in this process.
_NUMBER = re.compile(r"(_\d+)+(?=[\"/_]|$)")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_SHOWN = 5
_HASH = re.compile(r"[0-9a-f]{64}")
TEACHER = "teacher (SHA-256 of the weights)"
_COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")


def model_fingerprint(model):
    """Returns the fingerprint of a compiled model, without its weights.

    Args:
        model: A built and compiled `keras.Model`.

    Returns:
        Dict that JSON can hold: lists with the names, shapes and dtypes of the
        variables; hashes of the configurations of model, optimizer, loss and metrics;
        and the SHA-256 of the weights of a distiller's teacher. A learning rate that is
        a number is left out, because callbacks change it.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.compile("sgd", "mse")
    >>> model.optimizer.build(model.trainable_variables)
    >>> model_fingerprint(model)["variables"]
    ['sequential/dense/kernel float32 (3, 2)', 'sequential/dense/bias float32 (2,)']
    """
    optimizer = _config(model.optimizer)
    inner = _inner(optimizer)
    if isinstance(inner.get("learning_rate"), float):
        inner.pop("learning_rate")
    config = _config(model)
    compiled = _compiled(model)
    return {
        "variables": [_described(variable) for variable in model.variables],
        "optimizer variables": [_described(v) for v in model.optimizer.variables],
        TEACHER: config.pop("teacher_fingerprint", None),
        "model (hash of its configuration)": _hash(config),
        "optimizer (hash of its configuration)": _hash(optimizer),
        **{
            f"{part} (hash of what was compiled)": _hash(compiled[part])
            for part in _COMPILED
        },
        "steps_per_execution": model.steps_per_execution,
    }


def constant_learning_rate(optimizer):
    """Returns a learning rate that is a number, or `None` if it is a schedule.

    Args:
        optimizer: A Keras optimizer, with or without loss scaling.

    Example:

    >>> import keras
    >>> constant_learning_rate(keras.optimizers.SGD(0.1))
    0.1
    """
    rate = _inner(_config(optimizer)).get("learning_rate")
    # Restores the number that the user wrote: 0.1 is 0.10000000149 in float32.
    return float(str(np.float32(rate))) if isinstance(rate, float) else None


def differences(before, now):
    """Describes how two fingerprints differ.

    Args:
        before: Dict that JSON can hold, which may be nested.
        now: Dict of the same form.

    Returns:
        String that lists the differences. It is empty if there are none.

    Example:

    >>> differences({"data": {"size": 1, "seed": 0}}, {"data": {"size": 2, "seed": 0}})
    'data.size was 1, now 2'
    """
    found = list(_differences(before, now, ""))
    more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _differences(before, now, name):
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            inside = f"{name}.{key}" if name else key
            yield from _differences(before.get(key), now.get(key), inside)
    elif isinstance(before, list) and isinstance(now, list):
        for index in range(max(len(before), len(now))):
            pair = (values[index : index + 1] for values in (before, now))
            was, is_now = ((item[0] if item else None) for item in pair)
            yield from _differences(was, is_now, f"{name}[{index}]")
    else:
        yield f"{name} was {_shown(before)}, now {_shown(now)}"


def _shown(value):
    """Returns the start of a hash, and any other value unchanged."""
    is_hash = isinstance(value, str) and _HASH.fullmatch(value)
    return value[:12] if is_hash else value


def _described(variable):
    path = _NUMBER.sub("", variable.path)
    return f"{path} {variable.dtype} {tuple(variable.shape)}"


def _config(configured):
    try:
        return dict(configured.get_config())
    except NotImplementedError:  # A subclassed model need not have one.
        return {}


def _inner(optimizer_config):
    """Returns the configuration of the optimizer inside any loss scaling."""
    return optimizer_config.get("inner_optimizer", {}).get("config", optimizer_config)


def _compiled(model):
    """Returns a dict from each name in `_COMPILED` to that argument of `compile`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns of lambdas; none is loaded.
            config = model.get_compile_config()
    except (TypeError, ValueError, AttributeError, NotImplementedError):
        # Some part has no configuration, so its name is used instead.
        loss = keras.tree.map_structure(_name, model.loss)
        config = {"loss": loss, "metrics": [_name(metric) for metric in model.metrics]}
    # A student may be trained with its own loss.
    student = config.get("student") or {}
    return {
        part: [_without_code(each.get(part)) for each in (config, student)]
        for part in _COMPILED
    }


def _name(described):
    if isinstance(described, str):
        return described
    return getattr(described, "__name__", type(described).__name__)


def _without_code(config):
    """Removes the code of lambdas, which contains line numbers."""
    if isinstance(config, dict):
        if config.get("class_name") == "__lambda__":
            return "lambda"
        return {key: _without_code(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_without_code(value) for value in config]
    return config


def _hash(config):
    text = json.dumps(config, sort_keys=True, default=repr)
    text = _ADDRESS.sub("", _NUMBER.sub("", text))
    return hashlib.sha256(text.encode()).hexdigest()
