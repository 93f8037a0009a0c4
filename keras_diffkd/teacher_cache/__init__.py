"""Stores what a teacher computes on fixed views of images, and trains from it."""

from keras_diffkd.teacher_cache.builder import CacheBuilder
from keras_diffkd.teacher_cache.cache import TeacherCache
from keras_diffkd.teacher_cache.stored_teacher import stored_outputs
from keras_diffkd.teacher_cache.verification import Verification, verify

__all__ = [
    "CacheBuilder",
    "TeacherCache",
    "Verification",
    "stored_outputs",
    "verify",
]
