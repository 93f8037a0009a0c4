"""Describes the targets and outputs that the losses of the task expect."""

import dataclasses
import inspect
import re

import keras

from keras_diffkd.keras_private.trainer import compile_loss_of

KINDS = {
    keras.losses.sparse_categorical_crossentropy: "sparse",
    keras.losses.categorical_crossentropy: "categorical",
    keras.losses.categorical_focal_crossentropy: "categorical",
    keras.losses.binary_crossentropy: "binary",
    keras.losses.binary_focal_crossentropy: "binary",
}


@dataclasses.dataclass(frozen=True)
class TaskOutput:
    """Describes one output of the student and its loss.

    Attributes:
        name: Key or index of the output, or `None` if it is the only one.
        alias: Name of an output with an index. Targets may use this name.
        spec: The output as a `KerasTensor`.
        kind: `"sparse"`, `"categorical"`, `"binary"`, or `None` for other losses.
        loss_name: String, the name of the loss in messages.
        from_logits: Boolean, whether the loss takes logits.
        ignore_class: Label that the loss ignores, or `None`.
        only: Boolean, whether the student has no other output. Its targets may then be
            an array, although the output is in a dict or list.
    """

    name: object
    alias: str | None
    spec: object
    kind: str | None
    loss_name: str
    from_logits: bool
    ignore_class: int | None
    only: bool

    @property
    def classes(self):
        """Returns the size of the output's last axis, or `None`."""
        return self.spec.shape[-1]

    @property
    def label_classes(self):
        """Returns the number of classes in the labels, or `None` without classes."""
        if self.kind is None:
            return None
        # With a binary loss, one output decides between two classes.
        return 2 if self.kind == "binary" and self.classes == 1 else self.classes

    @property
    def title(self):
        """Returns the part of a message that names this output."""
        return (
            "" if self.name is None else f" of the output {self.alias or self.name!r}"
        )

    def is_in(self, structure):
        """Returns whether targets or outputs have a part for this output."""
        if isinstance(structure, dict):
            return self.name is None or not {self.name, self.alias}.isdisjoint(
                structure
            )
        if self.only and len(keras.tree.flatten(structure)) == 1:
            return True
        if isinstance(structure, (list, tuple)) and isinstance(self.name, int):
            return self.name < len(structure)
        return self.name is None or structure is None

    def of(self, structure):
        """Returns the part of targets or outputs for this output."""
        if self.name is None:
            return structure
        if isinstance(structure, dict):
            return structure.get(self.name, structure.get(self.alias))
        leaves = keras.tree.flatten(structure)
        if self.only and len(leaves) == 1:
            return leaves[0]
        try:
            return structure[self.name]
        except (IndexError, TypeError):
            return None


def task_outputs(distiller):
    """Returns the list of `TaskOutput`s that a compiled distiller trains.

    The list is empty if the student overrides `compute_loss`. Outputs in a structure
    inside a structure are not in it: only Keras checks their targets.

    Args:
        distiller: A compiled `Distiller`.
    """
    losses, outputs = _losses(distiller), distiller.output_spec
    if losses is None:
        return []
    if isinstance(outputs, dict):
        of = losses if isinstance(losses, dict) else dict.fromkeys(outputs, losses)
        named = [(key, None, of.get(key), outputs[key]) for key in outputs]
    elif isinstance(outputs, (list, tuple)):
        aliases = getattr(distiller, "output_names", None) or ()
        if len(aliases) != len(outputs):
            aliases = [None] * len(outputs)
        if isinstance(losses, dict):
            losses = [losses.get(alias) for alias in aliases]
        many = isinstance(losses, (list, tuple)) and len(losses) == len(outputs)
        if not many and isinstance(losses, (list, tuple)):
            return []
        of = losses if many else [losses] * len(outputs)
        named = list(zip(range(len(outputs)), aliases, of, outputs, strict=True))
    else:
        single = keras.tree.flatten(losses)
        named = [(None, None, single[0] if len(single) == 1 else None, outputs)]
    only = len(named) == 1
    return [
        _output(*each, only)
        for each in named
        if each[2] is not None and not keras.tree.is_nested(each[3])
    ]


def check_structure(findings, distiller):
    """Adds a problem if losses are compiled for outputs that do not exist."""
    losses, outputs = _losses(distiller), distiller.output_spec
    if isinstance(losses, dict):
        names = set(outputs) if isinstance(outputs, dict) else None
        if names is None:
            names = set(getattr(distiller.student, "output_names", None) or losses)
        unknown = sorted(set(losses) - names)
        if unknown:
            findings.error(
                f"`loss` must name outputs of the student, {sorted(names)}. Received: "
                f"{unknown}. Rename the losses in `compile`, or the outputs."
            )
    elif isinstance(losses, (list, tuple)):
        count = len(keras.tree.flatten(outputs))
        # Losses may be nested like the outputs.
        nested = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        if len(losses) not in (count, len(nested)):
            findings.error(
                f"The student has {count} outputs and needs one loss for each. "
                f"Received: {len(losses)} losses. Pass {count} losses to `compile`."
            )


def _losses(distiller):
    if compile_loss_of(distiller) is not None:
        return distiller.loss
    own = distiller.student
    if type(own).compute_loss is keras.Model.compute_loss:
        return own.loss
    return None


def _output(name, alias, loss, spec, only):
    text = loss if isinstance(loss, str) else getattr(loss, "__name__", None)
    return TaskOutput(
        name=name,
        alias=alias,
        spec=spec,
        kind=loss_kind(loss),
        loss_name=snake_case(text or type(loss).__name__),
        from_logits=bool(getattr(loss, "from_logits", False)),
        ignore_class=getattr(loss, "ignore_class", None),
        only=only,
    )


def loss_kind(loss):
    """Returns the kind of targets that a compiled loss takes, or `None`.

    It is known for Keras's own losses. A subclass that computes something else, or a
    function of the same name, may take other labels and other outputs.

    Args:
        loss: Loss as `compile` takes it for one output.
    """
    if isinstance(loss, (str, type)):
        try:
            loss = keras.losses.get(loss)
        except (TypeError, ValueError):
            return None  # Keras will report the error.
    if not isinstance(loss, keras.losses.Loss):
        return KINDS.get(loss) if inspect.isfunction(loss) else None
    own, plain = type(loss), keras.losses.BinaryCrossentropy
    if own.call is not plain.call or own.__call__ is not plain.__call__:
        return None
    return KINDS.get(getattr(loss, "fn", None))


def snake_case(name):
    """Returns `"logits_distillation"` for `"LogitsDistillation"`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
