"""Makes the student of `--student=shrink` or `shrink:WIDTH` out of the teacher."""

import dataclasses
import json

from keras_diffkd.atomic_files import written_aside
from keras_diffkd.export.records.table import align_columns
from keras_diffkd.models import with_dtype_policy
from keras_diffkd.pruning.exporting import FORMAT, STEPS_TO_EXPORT, exported
from keras_diffkd.pruning.limits import widest
from keras_diffkd.pruning.shrinkable import Shrinkable
from keras_diffkd.pruning.shrinking import warn_of_unknown
from keras_diffkd.validation.arguments import check_number

from . import flags, tasks
from .data import labeled_part
from .run import experiment

SPEC = "shrink"
FILE_NAME = "candidates.json"
LIMITS = ("max_latency_ms", "max_kb")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """Measures the student of one width.

    Attributes:
        width: float, the share of channels.
        parameters: int.
        kilobytes: float, the size of its TFLite file.
        milliseconds: float, a call of that file on one image and one thread.
    """

    width: float
    parameters: int
    kilobytes: float
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """Says which width was chosen, and from what.

    Attributes:
        width: float.
        candidates: list of `Candidate`, widest first; empty if nothing was measured.
        settings: dict, the values of the flags that led to it.
    """

    width: float
    candidates: list
    settings: dict

    def save(self, run):
        """Writes the candidates into a run, if there are any."""
        if self.candidates:
            run.root.mkdir(parents=True, exist_ok=True)
            with written_aside(run.root / FILE_NAME) as aside:
                content = json.dumps(dataclasses.asdict(self), indent=2)
                aside.write_text(f"{content}\n", encoding="utf-8")


def read_choice(run):
    """Returns the `Choice` that a run holds, or `None`.

    Args:
        run: `RunDirectory`, of the first seed or of another.
    """
    folders = [run.root]
    if run.root.parent.name == "seeds":
        folders.append(run.root.parent.parent)
    for folder in folders:
        path = folder / FILE_NAME
        if path.exists():
            content = json.loads(path.read_text(encoding="utf-8"))
            candidates = [Candidate(**each) for each in content["candidates"]]
            return Choice(content["width"], candidates, content["settings"])
    return None


def is_wanted():
    """Returns whether `--student` is to be made out of the teacher."""
    spec = flags.STUDENT.value or ""
    return spec == SPEC or spec.startswith(f"{SPEC}:")


def prepare_flags():
    """Completes the flags of a student that is made out of the teacher.

    Raises:
        ValueError: if they do not fit together.
    """
    limits = limits_of_flags()
    if limits and not flags.STUDENT.value:
        flags.FLAGS["student"].value = SPEC
    given = [*limits, *(["importance"] if flags.IMPORTANCE.value else [])]
    if given and not is_wanted():
        raise ValueError(
            f"--{given[0]} is about --student={SPEC}. Received: "
            f"--student={flags.STUDENT.value}. Leave one of them out"
        )
    if not is_wanted():
        return
    if flags.METHOD_EPOCHS.value is None:
        # The student begins with trained weights, and the methods' layers are new.
        flags.FLAGS["method_epochs"].value = 1
    width = _given_width()
    if (width is None) != bool(limits):
        raise ValueError(
            f"--student={SPEC} needs a width, such as {SPEC}:0.5, or a limit: "
            f"--{' or --'.join(LIMITS)}. Received: --student={flags.STUDENT.value}"
            + "".join(f" --{name}={limit:g}" for name, limit in limits.items())
        )
    if limits and flags.STRATEGY.value == "multi_worker":
        raise ValueError(
            "machines differ in speed, and all must train the same student. Received: "
            f"--{next(iter(limits))} with --strategy=multi_worker. Run the command "
            f"without a strategy first, then pass --student={SPEC}:WIDTH"
        )


def choose(run, teacher, data):
    """Returns the `Choice` for a run: the width of the flags, recorded, or measured.

    It prints the candidates that it measures.

    Args:
        run: `RunDirectory`.
        teacher: `keras.Model`.
        data: data set of the task.

    Raises:
        ValueError: if no width meets the limits.
    """
    width = _given_width()
    if width is not None:
        return Choice(width, [], {})
    recorded = read_choice(run)
    if recorded is not None and recorded.settings == _settings():
        return recorded
    return _measured(run, teacher, data)


def _settings():
    return limits_of_flags() | {"importance": flags.IMPORTANCE.value}


def _measured(run, teacher, data):
    source, limits = _source(teacher, data), limits_of_flags()
    # By the channels that stay: neighboring widths may be the same student.
    found = {}

    def candidate(width):
        stays = source.stays(width)
        key, width = stays.tobytes(), 1.0 if stays.all() else width
        if key not in found:
            student, report = source.student(width)
            cost = exported(
                student,
                input="uint8",
                labels=data.label_names,
                normalization=data.normalization,
                source=experiment.source(run, experiment.recorded(), run.student),
            )
            found[key] = Candidate(
                width, report.parameters[1], cost.kilobytes, cost.milliseconds
            )
        return found[key]

    def is_within(width):
        measures = _measures(candidate(width))
        return all(measures[name] <= limit for name, limit in limits.items())

    width = widest(is_within, STEPS_TO_EXPORT)
    chosen = None if width is None else candidate(width)
    ordered = sorted(found.values(), key=lambda each: -each.width)
    print(table(ordered, chosen))
    if chosen is None:
        least = _measures(ordered[-1])
        wanted = " ".join(f"--{name}={limit:g}" for name, limit in limits.items())
        can = " ".join(f"--{name}={least[name]:.3g}" for name in limits)
        raise ValueError(
            f"no width meets the limits. Received: {wanted}. The smallest student, "
            f"{SPEC}:{ordered[-1].width:g}, would meet {can}: raise the limits, or "
            "take a smaller teacher"
        )
    return Choice(chosen.width, ordered, _settings())


def _measures(candidate):
    return {"max_latency_ms": candidate.milliseconds, "max_kb": candidate.kilobytes}


def table(candidates, chosen):
    """Returns candidates as text.

    Args:
        candidates: list of `Candidate`.
        chosen: the one that was chosen, or `None`.
    """
    rows = [
        [
            f"{SPEC}:{each.width:g}",
            f"{each.parameters:,}",
            f"{each.kilobytes:,.1f} kB",
            f"{each.milliseconds:.3f} ms",
            "chosen" if each == chosen else "",
        ]
        for each in candidates
    ]
    return align_columns(["student", "parameters", FORMAT, "latency", ""], rows)


def build(teacher, data, width):
    """Returns the student of a width, of the dtype policy of new models.

    Args:
        teacher: `keras.Model`, which does not change.
        data: data set of the task.
        width: float.

    Raises:
        ValueError: if the teacher cannot be made smaller, or has other classes.
    """
    source = _source(teacher, data)
    source.check_width(width)
    student = _made(source, width)
    warn_of_unknown(source.graph)
    tasks.current().check_model(student, flags.STUDENT.value)
    # A detector has boxes, too.
    is_dict = isinstance(student.output, dict)
    classes = (student.output["cls_logits"] if is_dict else student.output).shape[-1]
    if classes != data.num_classes:
        raise ValueError(
            f"a student made out of its teacher has the teacher's classes. Received: "
            f"{classes} classes, and a data set of {data.num_classes}. Take another "
            "teacher, or another student"
        )
    precision = flags.PRECISION.value
    return student if precision == "float32" else with_dtype_policy(student, precision)


def _made(source, width):
    student, _ = source.student(width)
    if hasattr(student, "bounding_box_format"):
        # That of the labels, which the teacher was perhaps trained on in another.
        student.bounding_box_format = "xyxy"
    return student


def _source(teacher, data):
    if flags.IMPORTANCE.value == "taylor":
        loss = tasks.current().compile_arguments(data)["loss"]
        if loss is None:
            # The copy of a detector has its own, also behind a preprocessing.
            teacher = _made(Shrinkable(teacher), 1.0)
            tasks.current().prepare_student(teacher)
        return Shrinkable(teacher, "taylor", labeled_part(data).train, loss)
    return Shrinkable(teacher, flags.IMPORTANCE.value or "l2")


def describe_limits(report, settings):
    """Returns lines that compare a verified file with the limits of its student.

    Args:
        report: dict from `verify`.
        settings: dict from the names of limits, and of other flags, to numbers.
    """
    result = report.get("artifacts", {}).get(FORMAT)
    if result is None or result["latency_ms"] is None:
        return []
    found = {"max_latency_ms": result["latency_ms"], "max_kb": result["size"] / 1000}
    return [
        f"{result['file']}: {found[name]:.3f} of --{name}={limit:g}, "
        + ("met" if found[name] <= limit else "NOT met")
        for name, limit in settings.items()
        if name in found
    ]


def limits_of_flags():
    """Returns a dict from the names of the limits that have a value to the values."""
    values = {name: flags.FLAGS[name].value for name in LIMITS}
    return {name: value for name, value in values.items() if value is not None}


def _given_width():
    _, colon, text = flags.STUDENT.value.partition(":")
    if not colon:
        return None
    try:
        width = float(text)
        check_number("width", width, above=0, most=1)
    except ValueError:
        raise ValueError(
            f"--student={SPEC}:WIDTH needs a width above 0 and up to 1, such as "
            f"{SPEC}:0.5. Received: --student={flags.STUDENT.value}"
        ) from None
    return width
