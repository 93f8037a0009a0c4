"""Builds the distiller of a student, with the teacher or with its stored outputs."""

from keras_diffkd.teacher_cache import stored_outputs

from . import flags, teacher_cache
from .networks import load_teacher, teaching
from .training import build_distiller


def wanted_cache(run, data, methods, check=None):
    """Opens the teacher cache of the flags, and builds it if it is missing.

    To be called outside the strategy, which would run the teacher on each device.

    Args:
        run: `RunDirectory`.
        data: data set from `load_data`.
        methods: list of distillation methods.
        check: optional callable `(teacher, data)`, called before the cache is built.

    Returns:
        `TeacherCache`, or `None` without `--teacher_cache` or methods.
    """
    if not (flags.TEACHER_CACHE.value and methods):
        return None
    missing = not teacher_cache.is_built()
    teacher = teaching(load_teacher(run, data, methods), data, works=missing)
    if missing and check is not None:
        check(teacher, data)
    return teacher_cache.open_or_build(teacher, data, methods)


def distil_from(cache, teacher, data, methods, make, quantization=None):
    """Builds a distiller with the teacher, or with its stored outputs.

    Args:
        cache: `TeacherCache`, or `None`.
        teacher: `keras.Model`, or `None` without methods.
        data: `ClassificationData`.
        methods: list of distillation methods.
        make: callable from the data set to a new student.
        quantization: `QuantizationAware` or `None`.
    """
    teacher = teaching(teacher, data, works=cache is None)
    if cache is None:
        return build_distiller(
            make(data), data, teacher, methods, quantization=quantization
        )
    stored = cache.teacher(methods, teacher)
    return build_distiller(
        make(data), data, stored, methods, stored_outputs, quantization=quantization
    )
