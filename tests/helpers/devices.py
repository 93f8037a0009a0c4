"""Several devices in one process."""

import contextlib
import functools

import tensorflow as tf


@functools.cache
def mirrored_on_two_devices():
    """Returns a strategy over two logical CPUs; to be called before anything else.

    One for the whole process: collective operations of two strategies get in each
    other's way.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * 2
    )
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def scope_of(replicas):
    """Returns the scope to build models in for one replica or for two."""
    if replicas == 1:
        return contextlib.nullcontext()
    return mirrored_on_two_devices().scope()
