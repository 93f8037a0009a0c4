"""What must be the same for a training to be resumed."""

import hashlib
import json
import re

# Keras numbers layers by how many were made before, in this process.
_NUMBER = re.compile(r"(_\d+)+(?=[\"/_]|$)")
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_SHOWN = 5


def model_fingerprint(model):
    """Returns what tells one compiled model from another, without its weights.

    Args:
        model: A built and compiled `keras.Model`.

    Returns:
        Dict from str to what JSON can hold: lists of the variables' names, shapes
        and dtypes, hashes of the configurations of model and optimizer (without a
        learning rate that is a number, which callbacks change), and of a
        distiller's teacher the SHA-256 of its weights.

    Example:

    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> model.compile("sgd", "mse")
    >>> model.optimizer.build(model.trainable_variables)
    >>> model_fingerprint(model)["variables"]
    ['sequential/dense/kernel float32 (3, 2)', 'sequential/dense/bias float32 (2,)']
    """
    optimizer = _config(model.optimizer)
    inner = optimizer.get("inner_optimizer", {}).get("config", optimizer)
    if isinstance(inner.get("learning_rate"), float):
        inner.pop("learning_rate")
    config = _config(model)
    return {
        "variables": [_described(variable) for variable in model.variables],
        "optimizer variables": [_described(v) for v in model.optimizer.variables],
        "teacher (SHA-256 of the weights)": config.pop("teacher_fingerprint", None),
        "model (hash of its configuration)": _hash(config),
        "optimizer (hash of its configuration)": _hash(optimizer),
        "steps_per_execution": model.steps_per_execution,
    }


def differences(before, now):
    """Describes how two fingerprints differ.

    Args:
        before: Dict of what JSON can hold, dicts in it included.
        now: The same.

    Returns:
        A string with one sentence part for each difference; empty if there is none.

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
        yield f"{name} was {before}, now {now}"


def _described(variable):
    path = _NUMBER.sub("", variable.path)
    return f"{path} {variable.dtype} {tuple(variable.shape)}"


def _config(configured):
    try:
        return dict(configured.get_config())
    except NotImplementedError:  # A subclassed model need not have one.
        return {}


def _hash(config):
    text = json.dumps(config, sort_keys=True, default=repr)
    text = _ADDRESS.sub("", _NUMBER.sub("", text))
    return hashlib.sha256(text.encode()).hexdigest()
