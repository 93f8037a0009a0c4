"""Training on several workers: TF_CONFIG, two real processes, a worker that dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_diffkd.held_stderr import without_chatter
from keras_diffkd.recipes import cluster, train_teacher
from keras_diffkd.recipes.cluster import read_tf_config, wait_for_workers
from keras_diffkd.recipes.run.metrics_log import read_metrics

COMMAND = [Path(sys.executable).parent / "diffkd-train-teacher"]


def config(workers=("a:1", "b:2"), index=0, **changes):
    return json.dumps(
        {
            "cluster": {"worker": list(workers)},
            "task": {"type": "worker", "index": index},
            **changes,
        }
    )


def test_workers_and_index_are_read():
    assert read_tf_config(config(index=1)) == (["a:1", "b:2"], 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "needs the environment variable TF_CONFIG.*host1:2222"),
        ("{", "must look like.*Received: {"),
        ("[]", "must look like"),
        ('{"cluster": {"worker": ["a:1"]}}', "must look like.*KeyError: 'task'"),
        (config(index=2), "0 to the number of workers - 1, 1. Received: 2"),
        (config(index="0"), "Received: '0'"),
        (config(["a", "b:2"]), "written 'host:port'. Received: 'a'"),
        (config(["a:1", "a:1"]), "names a worker twice"),
        (config(cluster={"worker": ["a:1"], "ps": ["b:2"]}), "of type 'worker' only"),
    ],
)
def test_what_is_wrong_with_tf_config_is_named(text, message):
    with pytest.raises(ValueError, match=message):
        read_tf_config(text)


def free_addresses(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def test_a_worker_that_is_not_there_is_named_in_time():
    here, missing = free_addresses(2)
    started = time.monotonic()
    with pytest.raises(ValueError, match=f"could not reach {missing} within 1 s"):
        wait_for_workers([here, missing], 0, timeout=1)
    assert time.monotonic() - started < 10


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match="cannot listen at.*Choose a free port"):
            wait_for_workers([f"localhost:{port}"], 0, timeout=1)


def flags_of(run_dir, data_dir):
    return (
        f"--run_dir={run_dir}",
        f"--data_dir={data_dir}",
        "--dataset=digits",
        "--teacher=digits_student",
        "--steps_per_epoch=4",
    )


def start(run_dir, data_dir, *flags, addresses=(), index=0):
    env = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP_")}
    if addresses:
        env["TF_CONFIG"] = config(addresses, index)
        flags = ("--strategy=multi_worker", "--cluster_timeout=60", *flags)
    return subprocess.Popen(
        [*COMMAND, *flags_of(run_dir, data_dir), *flags],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, status=0):
    output, errors = process.communicate(timeout=200)
    assert process.returncode == status, errors
    return output, errors


@pytest.mark.long
def test_a_killed_worker_ends_the_other_and_both_resume(tmp_path, data_dir):
    run = tmp_path / "run"
    addresses = free_addresses(2)
    workers = [
        start(
            run,
            data_dir,
            "--epochs=1000",
            "--save_every=3",  # Of four steps: in the middle of epochs, too.
            addresses=addresses,
            index=i,
        )
        for i in range(2)
    ]
    metrics = run / "teacher" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while len(read_metrics(metrics)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers[1].send_signal(signal.SIGKILL)
    workers[1].communicate()
    _, errors = finish(workers[0], status=1)
    lines = errors.splitlines()
    assert without_chatter(errors) == lines
    assert "another worker has stopped" in lines[-1]
    assert "Start all workers again with the same command" in lines[-1]

    done = len(read_metrics(metrics))
    assert done >= 2
    for path in (run / "teacher" / "flags.txt",):
        path.write_text(
            path.read_text().replace("--epochs=1000", f"--epochs={done + 2}")
        )
    addresses = free_addresses(2)
    workers = [
        start(run, data_dir, f"--epochs={done + 2}", addresses=addresses, index=i)
        for i in range(2)
    ]
    output, errors = finish(workers[0])
    silent, others = finish(workers[1])
    assert errors + others == "", "no lines of TensorFlow"
    assert f"Resuming {run / 'teacher'} after epoch" in output
    assert silent == ""
    assert [line["epoch"] for line in read_metrics(metrics)] == list(range(1, done + 3))
    keras.models.load_model(run / "teacher.keras")


def test_two_workers_see_the_batches_of_one(data_dir):
    from keras_diffkd.datasets import load_classification

    arguments = {"data_dir": data_dir, "batch_size": 16, "seed": 3, "start_step": 40}
    whole = load_classification("digits", **arguments)
    shares = [
        load_classification("digits", shard=(i, 2), **arguments) for i in range(2)
    ]
    iterators = [iter(data.train.as_numpy_iterator()) for data in (whole, *shares)]
    for _ in range(3):
        (images, labels), *parts = map(next, iterators)
        assert [len(part[1]) for part in parts] == [8, 8]
        np.testing.assert_array_equal(parts[0][0], images[0::2])
        np.testing.assert_array_equal(parts[1][0], images[1::2])
        np.testing.assert_array_equal(
            np.stack([p[1] for p in parts], 1).ravel(), labels
        )
    assert shares[0].num_test_examples == whole.num_test_examples
    with pytest.raises(
        ValueError, match=r"multiple of count. Received: shard=\(0, 3\)"
    ):
        load_classification("digits", shard=(0, 3), **arguments)


@pytest.mark.long
def test_two_virtual_devices_train_like_one(tmp_path, data_dir, parse):
    two = start(
        tmp_path / "two",
        data_dir,
        "--epochs=2",
        "--strategy=mirrored",
        "--virtual_devices=2",
        "--jit_compile=true",
    )
    parse(*flags_of(tmp_path / "one", data_dir), "--epochs=2")
    train_teacher.main([])
    finish(two)
    runs = [
        read_metrics(tmp_path / name / "teacher" / "metrics.jsonl")
        for name in ("one", "two")
    ]
    # Batch normalization sees half of the batch.
    for one, two in zip(*runs, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=0.15)


def test_a_batch_that_cannot_be_shared_out_is_refused(
    tmp_path, data_dir, parse, monkeypatch
):
    run = tmp_path / "run"
    parse(*flags_of(run, data_dir), "--strategy=multi_worker", "--batch_size=15")
    monkeypatch.setenv("TF_CONFIG", config())
    monkeypatch.setattr(cluster, "wait_for_workers", lambda *arguments: None)
    two_devices = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setattr(
        cluster.tf.distribute, "MultiWorkerMirroredStrategy", lambda: two_devices
    )
    message = "a multiple of their 2 devices. Received: --batch_size=15"
    with pytest.raises(ValueError, match=message):
        train_teacher.main([])
    assert not run.exists()
