"""Builds the distiller of a student, with the teacher or with its stored outputs."""

from keras_diffkd.teacher_cache import stored_outputs

from .networks import teaching
from .training import build_distiller


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
