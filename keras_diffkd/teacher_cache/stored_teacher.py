"""Makes a small model that gives stored outputs as the teacher would."""

import keras

from keras_diffkd.features.head import TeacherHead
from keras_diffkd.features.known_kind import KnownKind
from keras_diffkd.features.pairs import taps_of
from keras_diffkd.teacher_cache.records import RecordLayout

PREFIX = "stored_"


def input_name(tap):
    """Returns the entry of a batch that holds a stored output; `None`: the logits."""
    # Names of layers have no slash.
    return PREFIX + ("logits" if tap is None else f"tap_{tap.replace('/', '.')}")


@keras.saving.register_keras_serializable(package="keras_diffkd")
def stored_outputs(batch):
    """Returns the stored outputs of a batch: the `teacher_preprocess` of a distiller.

    Args:
        batch: Dict of the images and of stored outputs, from `TeacherCache.batches`.

    Raises:
        TypeError: If the batch is not such a dict.

    Example:

    >>> stored_outputs({"image": 1, "stored_logits": 2})
    {'stored_logits': 2}
    """
    found = {}
    if isinstance(batch, dict):
        found = {name: batch[name] for name in batch if name.startswith(PREFIX)}
    if not found:
        raise TypeError(
            "A batch for a stored teacher must be a dictionary with its outputs. "
            "Received: images alone. Train on `cache.batches(data.views, distiller)`."
        )
    return found


def stored_teacher(contents, methods, head_of, folder):
    """Returns the model of `TeacherCache.teacher`.

    Args:
        contents: Dict, the part of the manifest about what is stored.
        methods: List of distillation methods.
        head_of: The teacher, for methods that run its classifier, or `None`.
        folder: Folder of the cache, for errors.

    Raises:
        ValueError: If the methods read what is not stored.
    """
    stored = list(contents["features"])
    wanted = list(dict.fromkeys(tap for tap in taps_of(methods, "teacher") if tap))
    missing = [tap for tap in wanted if tap not in stored]
    if missing:
        raise ValueError(
            f"The teacher cache {folder} does not hold the taps {missing}, which the "
            f"methods read. Received: logits and {stored}. Build another cache with "
            f"the taps {wanted}."
        )
    head_tap = _head_tap(contents, methods, head_of)
    shapes = RecordLayout.of(contents).shapes
    kinds = contents["kinds"]
    return make_stored_teacher(shapes, wanted, head_of, head_tap, kinds)


def _head_tap(contents, methods, head_of):
    """Returns the tap after which a method runs the teacher's layers, or `None`."""
    users = [method for method in methods if method.needs_teacher_head]
    if not users:
        return None
    taps = {method.teacher_tap for method in users}
    name = users[0].name
    if head_of is None:
        raise ValueError(
            f"Method {name!r} runs the teacher's classifier, which a cache does not "
            "hold. Pass the teacher as `head_of`."
        )
    if len(taps) > 1 or "/" in (tap := taps.pop()):
        raise ValueError(
            f"Method {name!r} runs the teacher's classifier after its tap. With a "
            "cache, that must be one layer of the teacher itself. Received: "
            f"{sorted(method.teacher_tap for method in users)}. Train with the "
            "teacher itself."
        )
    if tap in contents["pooled"]:
        raise ValueError(
            f"Method {name!r} needs the whole feature {tap!r}. Received: its mean over "
            "positions. Build another cache that stores this tap whole."
        )
    return tap


def make_stored_teacher(shapes, taps, head_of=None, head_tap=None, kinds=None):
    """Builds a model of stored outputs whose layers have the names of the taps.

    Args:
        shapes: Dict from `None` (the logits) and each tap to the shape of an output.
        taps: List of the taps that methods read.
        head_of: The teacher, for `head_tap`.
        head_tap: Tap after which a method runs the teacher's layers, or `None`.
        kinds: Dict from tap to the kind of a feature with three axes.

    Returns:
        A `keras.Model`. The names of its inputs are those of `input_name`. With
        `head_tap`, the teacher's own layers compute the logits from that feature.
    """
    last = head_tap
    inputs = {
        tap: keras.Input(shapes[tap], dtype="float32", name=input_name(tap))
        for tap in [*taps, last]
        if tap != last
    }
    inputs[last] = keras.Input(shapes[last], dtype="float32", name=input_name(last))
    kinds = {tuple(tap.split("/")): kind for tap, kind in (kinds or {}).items()}
    taken = {tuple(tap.split("/")): inputs[tap] for tap in taps if tap != last}
    # A tapped layer must run for the logits: each of them is an input of this one.
    outputs = [*_nested(taken, kinds), inputs[last]]
    *_, x = keras.layers.Identity(name="stored", dtype="float32")(outputs)
    if head_tap is not None:
        x = _tapped_layer(head_tap, kinds.get((head_tap,)))(x)
        for part in TeacherHead(head_of, head_tap).parts:
            x = part(x, training=False)
    inputs = list(inputs.values())
    return keras.Model(
        inputs if len(inputs) > 1 else inputs[0], x, name="stored_teacher"
    )


def _tapped_layer(name, kind):
    # In float32, whatever the policy of new models.
    if kind is None:
        return keras.layers.Identity(name=name, dtype="float32")
    return KnownKind(kind, name=name, dtype="float32")


def _nested(tensors, kinds):
    """Returns the tensors after layers with the names in their paths.

    Args:
        tensors: Dict from path, a tuple of names, to tensor.
        kinds: Dict from path to the kind of a feature, where it is known.
    """
    outputs = []
    for name in dict.fromkeys(path[0] for path in tensors):
        inside = {path[1:]: x for path, x in tensors.items() if path[0] == name}
        if () in inside:
            outputs.append(_tapped_layer(name, kinds.get((name,)))(inside[()]))
            continue
        of_inner = {path[1:]: kind for path, kind in kinds.items() if path[0] == name}
        inputs = [keras.Input(x.shape[1:], dtype="float32") for x in inside.values()]
        model = keras.Model(
            inputs, _nested(dict(zip(inside, inputs, strict=True)), of_inner), name=name
        )
        outputs += keras.tree.flatten(model(list(inside.values())))
    return outputs
