"""Builds or loads the teacher and the student that the flags name."""

import shutil
from pathlib import Path

from keras_diffkd.models import (
    pretrained_preprocessing,
    with_dtype_policy,
    with_preprocessing,
)

from . import flags, tasks
from .run.checksums import check_checksum
from .run.experiment import data_name, read_flags
from .run.model_files import (
    load_checked_model,
    save_model,
    written_with_checksum,
)
from .teacher_speed import warn_if_slower


def build_network(spec, data):
    """Builds the model `spec` for the images and classes of `data`.

    A layer in front of pretrained models of `keras.applications` and KerasHub turns
    the data set's normalization into the one that they were trained with.

    Args:
        spec: str, in the form that `--teacher` and `--student` take.
        data: `ClassificationData`.

    Returns:
        A built `keras.Model`, images to logits.

    Raises:
        ValueError: if there is no such model, or it does not fit the data.
    """
    task = tasks.current()
    model = load_checked_model(
        spec,
        input_shape=data.image_shape,
        num_classes=data.num_classes,
        task=task.name,
    )
    task.check_model(model, spec)
    preprocess = pretrained_preprocessing(spec)
    if preprocess is None:
        return model
    return with_preprocessing(model, preprocess, data.normalization)


def load_teacher(run, data, methods):
    """Loads the teacher of a distillation, and writes nothing.

    Args:
        run: `RunDirectory`.
        data: `ClassificationData`.
        methods: the distillation methods; if none of them compares logits, the
            teacher may have other classes than the data set.

    Returns:
        A built `keras.Model`.

    Raises:
        FileNotFoundError: if the teacher needs training, and that is not done.
        ValueError: if it does not fit the data, or the run holds another teacher.
    """
    spec = flags.TEACHER.value
    trained_here = _was_trained_here(run)
    path = run.teacher
    if not trained_here and spec.endswith(".keras"):
        _check_same_file(run.teacher, Path(spec))
        path = spec
    elif not run.teacher.exists():
        if trained_here or not is_pretrained(spec):
            build_network(spec, data)  # Fails first for a name without a model.
            raise FileNotFoundError(
                f"{run.teacher} does not exist, and --teacher={spec} is not trained "
                "yet: run diffkd-train-teacher with the same flags first, or give "
                "--teacher a .keras file"
            )
        return build_network(spec, data)
    compares_logits = any(method.expects_logits for method in methods)
    return load_checked_model(
        str(path),
        input_shape=data.image_shape,
        num_classes=data.num_classes if compares_logits else None,
    )


def teaching(teacher, data, works):
    """Returns the teacher with the dtype policy of `--teacher_dtype`.

    Args:
        teacher: `keras.Model`, or `None`.
        data: data set of the task.
        works: whether the teacher is going to run on all images. If it is slower with
            that policy, a warning says so.
    """
    if teacher is None or flags.TEACHER_DTYPE.value is None:
        return teacher
    converted = with_dtype_policy(teacher, flags.TEACHER_DTYPE.value)
    if works:
        warn_if_slower(teacher, converted, data)
    return converted


def keep_teacher(run, teacher):
    """Saves the teacher from `load_teacher` in the run, unless it is there.

    Args:
        run: `RunDirectory`.
        teacher: `keras.Model`.
    """
    if run.teacher.exists():
        return
    if flags.TEACHER.value.endswith(".keras"):
        with written_with_checksum(run.teacher) as aside:
            shutil.copyfile(flags.TEACHER.value, aside)
    else:
        save_model(teacher, run.teacher)


def student_to_ship(run, settings):
    """Returns the student's file, from the run or from `--student`.

    Args:
        run: `RunDirectory`.
        settings: the run's recorded flags. They may name a file that the training
            started from, which is not the one to ship.

    Returns:
        `Path` of a `.keras` file. After a quantization-aware training, it is the
        student of that, unless `--student` names another.
    """
    given = flags.STUDENT.value or ""
    if given.endswith(".keras") and given != settings["student"]:
        return Path(given)
    return run.quantized if run.quantized.exists() else run.student


def is_pretrained(spec):
    """Returns whether a model of this name has weights, without a download."""
    return (spec.startswith("hub:") and not spec.endswith("+new")) or (
        spec.startswith("applications:") and spec.endswith("+imagenet")
    )


def _was_trained_here(run):
    trained = read_flags(run.root / "teacher")
    if trained is None:
        return False
    for name in ("teacher", "dataset"):
        received = flags.FLAGS[name].value
        if name == "teacher" and Path(received).resolve() == run.teacher.resolve():
            continue  # The file that the training wrote.
        if data_name(trained.get(name)) != data_name(received):
            raise ValueError(
                f"{run.teacher} was trained with --{name}={trained.get(name)}. "
                f"Received: --{name}={received}. Repeat the flag, or give another "
                "--run_dir"
            )
    return True


def _check_same_file(kept, given):
    check_checksum(kept)  # Before a damaged file looks like another model.
    if kept.exists() and given.exists() and kept.read_bytes() != given.read_bytes():
        raise ValueError(
            f"{kept} exists and is not the model of --teacher={given}. "
            "Give another --run_dir"
        )
