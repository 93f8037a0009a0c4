"""Serializes a distiller and the arguments of its `compile`."""

import keras

from keras_diffkd.keras_private.trainer import compile_loss_of
from keras_diffkd.training.loss_weights import serialized


class Saving:
    """Saves and restores a `Distiller`.

    It must precede `keras.Model` in the base classes. A saved distiller does not
    contain the teacher's weights, only their fingerprint.
    """

    def get_config(self):
        config = {
            "teacher": self.teacher,
            "student": self._original.student,
            "methods": self.methods,
            "task_loss_weight": serialized(self.task_loss_weight),
            "teacher_preprocess": self.frozen_teacher.preprocess,
            "quantization": self.quantization,
        }
        config = {
            key: keras.saving.serialize_keras_object(value)
            for key, value in config.items()
        }
        return {
            **config,
            "teacher_fingerprint": self.frozen_teacher.fingerprint(),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        fingerprint = config.pop("teacher_fingerprint", None)
        name = config.pop("name", None)
        config = {
            key: keras.saving.deserialize_keras_object(
                value, custom_objects=custom_objects
            )
            for key, value in config.items()
        }
        distiller = cls(**config, name=name)
        distiller.frozen_teacher.awaited_fingerprint = fingerprint
        return distiller

    def get_compile_config(self):
        config = super().get_compile_config()
        if not config:
            return config
        config = {
            **config,
            "jit_compile": self.record.jit_compile,
            "max_skipped_steps": self.record.max_skipped_steps,
            "preflight": self.record.preflight,
        }
        if compile_loss_of(self) is None:
            config["student"] = self.student.get_compile_config()
        return config

    def compile_from_config(self, config):
        config = dict(config)
        student = config.pop("student", None)
        if student:
            # Keras skips models that override `compile`, such as detectors.
            student = keras.saving.deserialize_keras_object(student)
            keras.Model.compile(self.student, **student)
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)
