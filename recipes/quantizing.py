"""Trains the finished student of a run further, as int8 runtimes compute it.

The folder `int8` of a run holds the records of this training, and:

```
R/int8/float.keras                the float student that it started from
R/int8/student.keras              the student after it, also float
R/int8/quantization_ranges.json   the ranges from which int8 files are made
```
"""

import contextlib
import shutil
import sys

import keras
from absl import flags as absl_flags

from keras_diffkd import KDiffusion, QuantizationAware
from keras_diffkd.quantization.planning import quantization_plan

from . import cluster, flags, teacher_cache
from .data import load_data
from .distilling import distil_from, wanted_cache
from .methods import build_methods
from .networks import build_network, keep_teacher, load_teacher
from .preflight import check_range, check_training
from .run.checksums import check_checksum
from .run.model_files import written_with_checksum
from .schedules import cosine_flags
from .training import claim, prepare, train

QUANTIZATION_AWARE = absl_flags.DEFINE_enum(
    "quantization_aware",
    None,
    ["int8"],
    "Train the finished student further, as int8 files compute it, in R/int8: the same "
    "line as before with this flag. Without a finished student, train it first.",
)
QUANTIZATION_EPOCHS = absl_flags.DEFINE_integer(
    "quantization_epochs",
    None,
    "Epochs of --quantization_aware; unset: a tenth of --epochs.",
    lower_bound=1,
)
QUANTIZATION_LEARNING_RATE = absl_flags.DEFINE_float(
    "quantization_learning_rate",
    None,
    "Learning rate of --quantization_aware, which decreases to 0 along a cosine; "
    "unset: a tenth of --learning_rate.",
)


def check_flags(methods):
    """Raises `ValueError` if the flags of this training do not fit together.

    Args:
        methods: list of distillation methods.
    """
    own = QUANTIZATION_EPOCHS, QUANTIZATION_LEARNING_RATE
    for flag in own:
        if flag.value is None:
            continue
        check_range(flag.name, flag.value)
        if not QUANTIZATION_AWARE.value:
            raise ValueError(
                f"--{flag.name} is about --quantization_aware=int8. Received: "
                f"--{flag.name}={flag.value} alone. Add it, or leave this one out"
            )
    rate = QUANTIZATION_LEARNING_RATE.value
    if rate is not None and rate <= 0:
        raise ValueError(
            f"--quantization_learning_rate must be a positive number. Received: {rate}"
        )
    if not QUANTIZATION_AWARE.value:
        return
    if flags.PRECISION.value == "mixed_float16":
        raise ValueError(
            "--quantization_aware needs --precision=float32 or mixed_bfloat16: float16 "
            "overflows. Received: --precision=mixed_float16"
        )
    if any(isinstance(method, KDiffusion) for method in methods):
        raise ValueError(
            "--quantization_aware cannot continue with --method=kdiffusion, which "
            "trains another copy of the student. Train the student with kdiffusion, "
            "then quantize it: --student=R/student.keras with another --run_dir and "
            "--method"
        )


def check_student(student):
    """Raises `ValueError` if there is nothing of a student to quantize."""
    if QUANTIZATION_AWARE.value:
        quantization_plan(student)


@contextlib.contextmanager
def quantization_flags():
    """Sets the flags of a training to those of the quantization-aware one.

    Yields:
        float, the learning rate of the methods' own layers.
    """
    epochs = QUANTIZATION_EPOCHS.value or max(1, flags.EPOCHS.value // 10)
    method_rate = flags.LEARNING_RATE.value
    rate = QUANTIZATION_LEARNING_RATE.value or method_rate / 10
    first = flags.METHOD_EPOCHS.value
    with cosine_flags(
        epochs,
        rate,
        # The student is trained, and the methods' layers are new.
        method_epochs=1 if first is None else first,
    ):
        yield method_rate


def train_quantized(run):
    """Trains the finished student of a run further, unless that is done.

    Args:
        run: `RunDirectory` whose student is finished.

    Raises:
        ValueError: if `R/int8` holds another training, or one of another student.
    """
    with quantization_flags() as method_rate:
        stage = run.quantized_stage()
        stage.check()
        start = stage.folder / "float.keras"
        _check_start(run, start)
        if stage.finished:
            print(f"{stage.model_path} is finished; nothing to do")
            return
        keras.utils.clear_session()
        prepare()  # The cleared session had the dtype policy.
        methods = build_methods(flags.METHOD.value)
        data = load_data()
        cache = wanted_cache(run, data, methods)
        with cluster.scope():
            _train(run, data, stage, start, methods, cache, method_rate)


def _train(run, data, stage, start, methods, cache, method_rate):
    teacher = load_teacher(run, data, methods) if methods else None
    path = start if start.exists() else run.student
    distiller = distil_from(
        cache,
        teacher,
        data,
        methods,
        lambda data: build_network(str(path), data),
        QuantizationAware(),
    )
    distilled = teacher_cache.with_stored_outputs(data, cache, distiller)
    check_training(distiller, distilled, flags.TEACHER.value)
    with claim(stage):
        if cluster.is_chief():
            if methods:
                keep_teacher(run, teacher)
            if not start.exists():
                with written_with_checksum(start) as aside:
                    shutil.copyfile(run.student, aside)
        train(distiller, stage, distilled, cache, method_rate)
    left_float = distiller.quantization_ranges().not_simulated
    if left_float and cluster.is_chief():
        print(f"Not rounded in training: {', '.join(left_float)}", file=sys.stderr)


def _check_start(run, start):
    """Raises `ValueError` unless the training started from the student of the run."""
    check_checksum(run.student)
    if not start.exists():
        return
    check_checksum(start)
    if start.read_bytes() != run.student.read_bytes():
        raise ValueError(
            f"{start.parent} was trained from another student than {run.student} is "
            f"now. Move or remove {start.parent} to train it again"
        )
