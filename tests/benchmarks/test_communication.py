import math

import pytest
from communication import all_reduce_bytes, message_bytes
from helpers.small_models import small_cnn

from keras_diffkd import Distiller, FitNet


def test_ring_all_reduce():
    # Two workers send half of it twice; many send nearly all of it twice.
    assert all_reduce_bytes(1000, 1) == 0
    assert all_reduce_bytes(1000, 2) == 1000
    assert all_reduce_bytes(1000, 512) == pytest.approx(2000, rel=3e-3)


def test_student_and_heads_are_sent_and_the_teacher_is_not():
    student, teacher = small_cnn(8), small_cnn(12)
    distiller = Distiller(teacher, student, [FitNet("features", "features")])
    trained = sum(math.prod(v.shape) for v in student.trainable_variables)
    gradients, statistics = message_bytes(distiller)
    assert gradients == 4 * (trained + 8 * 12 + 12)
    assert statistics == 4 * 2 * 8
