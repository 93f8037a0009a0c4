"""The step under MultiWorkerMirroredStrategy: two processes against one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.backend("tensorflow")
SCRIPT = Path(__file__).with_name("worker_script.py")


def free_addresses(count):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    addresses = [f"localhost:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return addresses


def start(addresses=(), index=0):
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if addresses:
        env["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": list(addresses)},
                "task": {"type": "worker", "index": index},
            }
        )
    return subprocess.Popen(
        [sys.executable, SCRIPT],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def test_two_workers_train_as_one():
    addresses = free_addresses(2)
    processes = [start(), *(start(addresses, index) for index in range(2))]
    alone, *workers = map(result_of, processes)
    for worker in workers:
        for a, b in zip(worker["weights"], alone["weights"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert set(worker["logs"]) == set(alone["logs"])
        for name, values in alone["logs"].items():
            if name != "noise/drawn":
                np.testing.assert_allclose(
                    worker["logs"][name], values, rtol=1e-4, err_msg=name
                )
        np.testing.assert_allclose(worker["outputs"], alone["outputs"], atol=1e-5)
    # The mean over two workers that draw differently is not what one draws.
    drawn = [np.array(r["logs"]["noise/drawn"]) for r in (alone, *workers)]
    np.testing.assert_array_equal(drawn[1], drawn[2])
    assert np.abs(drawn[0] - drawn[1]).max() > 1e-4
