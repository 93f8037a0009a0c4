"""The commands as a user runs them: as processes, on real digits, with tiny budgets."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_diffkd.recipes.metrics_log import read_metrics

TINY = ("--flagfile=digits.flags", "--epochs=1", "--steps_per_epoch=2")


def command(name, *arguments):
    return subprocess.run(
        [Path(sys.executable).parent / name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(name, *arguments):
    result = command(name, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """One run of everything; the outputs of the commands, by name."""
    root = tmp_path_factory.mktemp("chain")
    run, data = f"--run_dir={root / 'run'}", f"--data_dir={root / 'data'}"
    outputs = {
        "teacher": succeed("diffkd-train-teacher", *TINY, run, data),
        "distill": succeed("diffkd-distill", *TINY, run, data, "--baseline"),
        "export": succeed("diffkd-export", run, "--formats=onnx,tflite,saved_model"),
        "evaluate": succeed("diffkd-evaluate", run),
        "verify": succeed("diffkd-verify", run),
    }
    return root / "run", outputs


def test_a_run_holds_what_it_promises(chain):
    run, _ = chain
    for stage in (run, run / "teacher", run / "baseline"):
        assert (stage / "flags.txt").is_file()
        assert any((stage / "tensorboard").rglob("events.*"))
        assert (stage / "checkpoints").is_dir()
        [line] = read_metrics(stage / "metrics.jsonl")
        assert line["epoch"] == 1
        assert {"loss", "accuracy", "val_accuracy", "learning_rate"} < set(line)
    for artefact in ("student.onnx", "student.tflite", "saved_model/saved_model.pb"):
        assert (run / "export" / artefact).is_file()
    manifest = json.loads((run / "export" / "manifest.json").read_text())
    assert manifest["labels"] == [str(digit) for digit in range(10)]
    assert manifest["source"]["student"] == str(run / "student.keras")
    assert not list(run.rglob("*partial*"))


def test_the_logs_tell_whether_distillation_works(chain):
    run, _ = chain
    [line] = read_metrics(run / "metrics.jsonl")
    for name in ("diffkd_features/distill", "diffkd_logits/denoise", "task_loss"):
        assert np.isfinite(line[name])
    [alone] = read_metrics(run / "baseline" / "metrics.jsonl")
    assert not any("diffkd" in name for name in alone)


def test_the_models_are_plain_and_differ(chain):
    run, _ = chain
    paths = [run / "teacher.keras", run / "student.keras"]
    paths.append(run / "baseline" / "student.keras")
    teacher, student, alone = (keras.models.load_model(path) for path in paths)
    for model in (teacher, student, alone):
        assert not model.compiled
        assert model.output_shape == (None, 10)
    assert teacher.count_params() > student.count_params() == alone.count_params()
    x = np.ones((1, 8, 8, 1), "float32")
    assert not np.allclose(student(x), alone(x))


def test_the_tables(chain):
    _, outputs = chain
    for row in ("teacher", "student alone", "distilled student"):
        assert f"\n{row} " in outputs["evaluate"]
    assert "digits, 445 test images" in outputs["evaluate"]
    for artefact in ("saved_model", "student.onnx", "student.tflite"):
        assert artefact in outputs["export"]
        assert artefact in outputs["verify"]
    assert "445 samples" in outputs["verify"]


def test_a_finished_run_is_left_alone(chain):
    run, _ = chain
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    output = succeed("diffkd-distill", f"--flagfile={run / 'flags.txt'}")
    assert "student.keras is finished; nothing to do" in output
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_truncated_artefact_fails_verification(chain, tmp_path):
    run, _ = chain
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    artefact = copy / "export" / "student.onnx"
    artefact.write_bytes(artefact.read_bytes()[:1000])
    result = command("diffkd-verify", f"--run_dir={copy}")
    assert result.returncode == 1
    assert "student.tflite" in result.stdout
    assert "Traceback" not in result.stderr
    # TensorFlow may have lines of its own there.
    prefix = "diffkd-verify: error: "
    [line] = [line for line in result.stderr.splitlines() if line.startswith(prefix)]
    assert "student.onnx" in line
