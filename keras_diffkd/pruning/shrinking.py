"""Makes a smaller model of the same architecture out of a model."""

import warnings

from keras_diffkd.pruning.exporting import STEPS_TO_EXPORT, exported
from keras_diffkd.pruning.limits import MEASURES, widest_within
from keras_diffkd.pruning.shrinkable import Shrinkable


def shrink(
    teacher,
    width=None,
    *,
    max_parameters=None,
    max_multiply_adds=None,
    max_kilobytes=None,
    max_milliseconds=None,
    importance="l2",
    data=None,
    loss=None,
    divisor=8,
    keep=(),
    return_report=False,
):
    """Returns a smaller copy of a model that has the weights of its best channels.

    It removes channels, units of dense layers and heads of attention: structured
    pruning. Channels that the graph couples leave together, such as those of layers
    whose outputs are added. Each layer keeps the same share. Inputs and outputs keep
    their shapes, and layers their names. The copy is a plain functional or sequential
    model of the same layers; it shares nothing with the teacher, and is not compiled. A
    `keras_hub.models.RetinaNetObjectDetector` becomes a `ShrunkRetinaNet` of
    `keras_diffkd.models.shrunk_retinanet`, which has the same methods.

    The copy computes what the teacher computes if the channels that left contribute
    zero. Layer, group and RMS normalization then take statistics over the channels that
    stay.

    Layers with other layers inside, such as those of KerasHub, become functional models
    where their code allows it. A layer that is not understood keeps its inputs and
    outputs at full width, with a warning.

    Sources: "DepGraph: Towards Any Structural Pruning" (Fang et al., arXiv 2301.12900);
    distilling a pruned model: "Compact Language Models via Pruning and Knowledge
    Distillation" (Muralidharan et al., arXiv 2407.14679).

    Args:
        teacher: Built functional or sequential `keras.Model`, which may be nested. It
            does not change.
        width: Float in (0, 1], the share of channels to keep. Pass it or one limit.
        max_parameters: Number. Take the widest model with at most this many
            parameters.
        max_multiply_adds: Number, the same for multiply-adds of one sample in kernels
            and attention. Unknown sizes of the input count as 1.
        max_kilobytes: Number, the same for thousands of bytes of weights in their own
            dtype.
        max_milliseconds: Number, the same for the time of a call on one sample, on one
            thread of this machine. A few candidates are exported to TFLite and timed
            in LiteRT (extra `export`, on TensorFlow).
        importance: Which channels stay. `"l2"`: those with the largest weights;
            `"batch_norm"`: with the largest scales of batch normalization, and `"l2"`
            where there are none; `"taylor"`: those that change the loss most. Or a
            callable `(path, rows)`: `path` is that of a weight, `rows` an array
            `(channels, elements)`. It returns a score for each row. The scores of a
            channel are added over all weights that are removed with it.
        data: Iterable of batches `(x, y)` for `"taylor"`. It reads at most 16.
        loss: Loss for `"taylor"`: a `keras.losses.Loss`, its name or a function. It may
            be left out if the teacher is compiled with one.
        divisor: Integer. Each layer keeps a multiple of this number of channels, and at
            least this number if it has as many.
        keep: Names or paths of layers whose outputs keep all channels.
        return_report: Boolean, whether to return a `ShrinkReport`, too.

    Returns:
        A `keras.Model`, or `(model, report)`.

    Raises:
        ValueError: If the teacher is subclassed, if an argument is invalid, if no
            channel can be removed, or if a limit cannot be met.

    Example:

    >>> teacher = keras_diffkd.models.build_model("fashion_teacher", (28, 28, 1), 10)
    >>> student, report = shrink(teacher, 0.5, return_report=True)
    >>> print(report)
    width 0.5: parameters 176,090 -> 44,786, multiply-adds 5,537,984 -> 1,391,712
    at full width: logits (an output of the model)
    """
    limits = {
        "max_parameters": max_parameters,
        "max_multiply_adds": max_multiply_adds,
        "max_kilobytes": max_kilobytes,
        "max_milliseconds": max_milliseconds,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if (width is not None) + len(given) != 1:
        received = given | ({} if width is None else {"width": width})
        raise ValueError(
            f"Pass `width` or one of {', '.join(limits)}. Received: {received}"
        )
    source = Shrinkable(teacher, importance, data, loss, divisor, keep)
    if width is not None:
        source.check_width(width)
    elif max_milliseconds is not None:
        width = widest_within(
            "max_milliseconds",
            max_milliseconds,
            lambda share: exported(source.student(share)[0]).milliseconds,
            STEPS_TO_EXPORT,
        )
    else:
        ((name, limit),) = given.items()
        width = widest_within(
            name,
            limit,
            lambda share: MEASURES[name](source.graph, source.stays(share)),
        )
    student, report = source.student(width)
    warn_of_unknown(source.graph)
    return (student, report) if return_report else student


def warn_of_unknown(graph):
    """Warns of layers that were not understood.

    Args:
        graph: `ChannelGraph`.
    """
    if graph.unknown:
        warnings.warn(
            f"{len(graph.unknown)} layers keep their width and that of their inputs: "
            f"{'; '.join(graph.unknown.values())}. Use layers of Keras, or functional "
            "models instead",
            stacklevel=3,
        )
