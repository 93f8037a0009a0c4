"""Distributes a training over one device, one machine, or several."""

import atexit
import contextlib
import functools
import json
import os
import socket
import tempfile
import time
from pathlib import Path

import tensorflow as tf

from . import flags

EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


def strategy():
    """Returns the strategy of `--strategy`, the same one in the whole process.

    Call it before anything else uses TensorFlow, which then fixes the devices and
    the connections to other workers.

    Returns:
        A `tf.distribute.Strategy`, or `None` for one device.

    Raises:
        ValueError: if `TF_CONFIG` is missing or wrong, a worker cannot be reached in
            time, or the batch cannot be divided.
    """
    return _create_strategy(flags.STRATEGY.value)


@functools.cache
def _create_strategy(kind):
    if flags.VIRTUAL_DEVICES.value:
        [cpu] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * flags.VIRTUAL_DEVICES.value
        )
    if kind == "none":
        return None
    if kind == "mirrored":
        devices = None
        if flags.VIRTUAL_DEVICES.value:
            devices = [f"CPU:{index}" for index in range(flags.VIRTUAL_DEVICES.value)]
        return tf.distribute.MirroredStrategy(devices)
    workers, index = read_tf_config(os.environ.get("TF_CONFIG"))
    wait_for_workers(workers, index, flags.CLUSTER_TIMEOUT.value)
    created = tf.distribute.MultiWorkerMirroredStrategy()
    replicas = created.num_replicas_in_sync
    if flags.BATCH_SIZE.value % replicas:
        raise ValueError(
            "--batch_size counts the images of all workers, and must be a multiple of "
            f"their {replicas} devices. Received: --batch_size={flags.BATCH_SIZE.value}"
        )
    return created


def scope():
    """Returns the context in which to create models."""
    return strategy().scope() if strategy() else contextlib.nullcontext()


def shard():
    """Returns `(index, count)` of this worker, or `None` on one machine."""
    if flags.STRATEGY.value != "multi_worker":
        return None
    workers, index = read_tf_config(os.environ.get("TF_CONFIG"))
    return index, len(workers)


def is_chief():
    """Returns whether this process writes the files that all workers share."""
    return shard() is None or shard()[0] == 0


def training_data(data):
    """Returns the training data in the form that `fit` takes under the strategy.

    Args:
        data: `ClassificationData` of this worker's shard.
    """
    if shard() is None:
        return data.train
    per_replica = flags.BATCH_SIZE.value // strategy().num_replicas_in_sync
    return strategy().distribute_datasets_from_function(
        lambda _: data.train.rebatch(per_replica)
    )


@functools.cache
def scratch_folder():
    """Returns a folder for files that only the chief keeps, until the process ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)


def lost_worker(error):
    """Returns the exception to raise for an error of TensorFlow during training.

    Args:
        error: `tf.errors.OpError`.
    """
    gone = (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
    )
    if shard() is None or not isinstance(error, gone):
        return error
    return ConnectionError(
        "another worker has stopped or cannot be reached any more. Start all workers "
        "again with the same command: they resume from the last snapshot. (--debug "
        f"shows the error of TensorFlow: {type(error).__name__})"
    )


def read_tf_config(text):
    """Reads the workers' addresses and the number of this one from `TF_CONFIG`.

    Args:
        text: the variable's value, or `None`.

    Returns:
        `(addresses, index)`: list of `"host:port"`, and an int.

    Raises:
        ValueError: if it is missing or malformed.
    """
    if not text:
        raise ValueError(
            "--strategy=multi_worker needs the environment variable TF_CONFIG, which "
            f"names all workers and this one: {EXAMPLE}"
        )
    try:
        config = json.loads(text)
        workers = config["cluster"]["worker"]
        kind, index = config["task"]["type"], config["task"]["index"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"TF_CONFIG must look like {EXAMPLE}. Received: {text} "
            f"({type(error).__name__}: {error})"
        ) from None
    if set(config["cluster"]) != {"worker"} or kind != "worker":
        raise ValueError(
            "TF_CONFIG must have tasks of type 'worker' only (the first one is the "
            f"chief). Received: {sorted(config['cluster'])}, this task: {kind!r}"
        )
    if not isinstance(index, int) or not 0 <= index < len(workers):
        raise ValueError(
            "the task's index in TF_CONFIG must be in 0 to the number of workers - 1, "
            f"{len(workers) - 1}. Received: {index!r}"
        )
    for address in workers:
        host, _, port = str(address).rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(
                "workers in TF_CONFIG must be written 'host:port'. "
                f"Received: {address!r}"
            )
    if len(set(workers)) < len(workers):
        raise ValueError(f"TF_CONFIG names a worker twice. Received: {workers}")
    return workers, index


def wait_for_workers(workers, index, timeout):
    """Waits until every other worker listens at its address.

    Meanwhile this worker listens at its own address. When it has seen all others,
    TensorFlow's server listens there.

    Args:
        workers: list of `"host:port"`.
        index: int, the number of this worker.
        timeout: seconds.

    Raises:
        ValueError: if this worker cannot listen at its port, or others do not listen
            in time; names them.
    """
    port = int(workers[index].rpartition(":")[2])
    missing = [address for i, address in enumerate(workers) if i != index]
    deadline = time.monotonic() + timeout
    try:
        listener = socket.create_server(("", port), backlog=len(workers))
    except OSError as error:
        raise ValueError(
            f"worker {index} cannot listen at {workers[index]}: {error.strerror}. "
            "Choose a free port in TF_CONFIG"
        ) from None
    with listener:
        while missing:
            missing = [address for address in missing if not _listens(address)]
            if missing and time.monotonic() > deadline:
                raise ValueError(
                    f"worker {index} could not reach {', '.join(missing)} within "
                    f"{timeout} s. Start all workers with the same addresses in "
                    "TF_CONFIG, and check names, ports and firewalls"
                )
            if missing:
                time.sleep(0.5)


def _listens(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True
