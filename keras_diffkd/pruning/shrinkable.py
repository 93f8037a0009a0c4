"""Prepares a model to be made smaller, once for all widths."""

import numpy as np

from keras_diffkd.keras_private.layers import computes_its_graph
from keras_diffkd.pruning.graph import channel_graph
from keras_diffkd.pruning.groups import channel_groups, fixed_layers, selected
from keras_diffkd.pruning.importance import batch_norm, channel_scores, l2
from keras_diffkd.pruning.labels import axis_of
from keras_diffkd.pruning.rebuilding import rebuilt
from keras_diffkd.pruning.report import ShrinkReport
from keras_diffkd.pruning.sizes import multiply_adds, parameters
from keras_diffkd.pruning.taylor import taylor_scores
from keras_diffkd.validation.arguments import check_choice, check_integer, check_number
from keras_diffkd.validation.models import check_finite_weights, check_model

IMPORTANCES = ("l2", "batch_norm", "taylor")


class Shrinkable:
    """Knows the channels of a model and how important they are.

    Args:
        teacher: See `shrink`.
        importance: See `shrink`.
        data: See `shrink`.
        loss: See `shrink`.
        divisor: See `shrink`.
        keep: See `shrink`.

    Attributes:
        graph: `ChannelGraph`.
        groups: List of `Group`.
        left: Dict from paths of layers that keep their whole width to reasons.
    """

    def __init__(
        self, teacher, importance="l2", data=None, loss=None, divisor=8, keep=()
    ):
        check_model(teacher, "teacher")
        if not computes_its_graph(teacher):
            raise ValueError(
                "`teacher` must be a functional or sequential model, whose graph says "
                f"which channels belong together. Received: {teacher.name!r}, a "
                f"subclassed model ({type(teacher).__name__}). Build it with "
                "`keras.Model(inputs, outputs)`, or write a smaller model by hand"
            )
        check_finite_weights(teacher)
        self.divisor = check_integer("divisor", divisor, 1)
        keep = (keep,) if isinstance(keep, str) else keep
        self.graph = channel_graph(teacher, keep)
        self.groups = channel_groups(self.graph.channels)
        self.left = fixed_layers(self.graph)
        if not self.groups:
            reasons = [f"{path} ({reason})" for path, reason in self.left.items()]
            raise ValueError(
                f"{teacher.name!r} has no channels that can be removed. At full width: "
                f"{', '.join(reasons)}. Choose another teacher"
            )
        self._scores = self._score(importance, data, loss)

    def _score(self, importance, data, loss):
        if callable(importance):
            return channel_scores(self.graph, self.groups, importance)
        check_choice("importance", importance, IMPORTANCES)
        if importance == "taylor":
            if data is None or (loss is None and not self.graph.model.compiled):
                raise ValueError(
                    "importance='taylor' needs `data`, batches (x, y), and `loss`, "
                    "unless the teacher is compiled with one. Received: "
                    f"data={data!r}, loss={loss!r}. Pass both, or choose 'l2'"
                )
            return taylor_scores(self.graph, self.groups, data, loss)
        scores = channel_scores(self.graph, self.groups, l2)
        if importance == "batch_norm":
            scales = channel_scores(self.graph, self.groups, batch_norm)
            pairs = zip(scales, scores, strict=True)
            # Channels that nothing normalizes compete by their weights.
            scores = [scale if scale.any() else score for scale, score in pairs]
        return scores

    def stays(self, width):
        """Returns a boolean array: which atoms stay at this width."""
        return selected(self.graph, self.groups, self._scores, width, self.divisor)

    def check_width(self, width):
        """Raises `ValueError` if a width below 1 removes no channel."""
        check_number("width", width, above=0, most=1)
        if width < 1 and self.stays(width).all():
            raise ValueError(
                f"`width` must remove channels. Received: width={width:g} with "
                f"divisor={self.divisor}, which all layers keep whole. Choose a "
                "smaller width or divisor"
            )

    def student(self, width):
        """Returns `(student, report)` of a width: a `keras.Model`, a `ShrinkReport`."""
        graph, stays = self.graph, self.stays(width)
        every = np.ones_like(stays)
        report = ShrinkReport(
            width,
            (parameters(graph, every), parameters(graph, stays)),
            (multiply_adds(graph, every), multiply_adds(graph, stays)),
            self._kept(stays),
            dict(self.left),
        )
        return rebuilt(graph, stays), report

    def _kept(self, stays):
        found = {}
        for path, calls in self.graph.outputs.items():
            for number, labels in enumerate(calls, 1):
                if axis_of(labels) is None:
                    continue
                kept = np.flatnonzero(stays[labels.reshape(-1)])
                first = found.setdefault(path, kept)
                if not np.array_equal(kept, first):
                    found[f"{path} (call {number})"] = kept
        for birth in self.graph.channels.births:
            found.setdefault(birth.path, np.flatnonzero(stays[birth.atoms]))
        return found
