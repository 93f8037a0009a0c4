"""The commands as a user runs them, on a folder of digits, with tiny budgets.

The two that do most are processes, of which each imports TensorFlow; the others are run
here, where it is imported.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import diffkd_commands as commands
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from helpers.image_folders import write_digits_of_tfds
from helpers.web_pages import fake_runtime
from PIL import Image

from keras_diffkd.export import VerificationError
from keras_diffkd.recipes import distill, evaluate, train_teacher, verify
from keras_diffkd.recipes.command_line import guarded, resolve_flagfiles
from keras_diffkd.recipes.run.metrics_log import read_metrics

TINY = ("--flagfile=digits.flags", "--epochs=1", "--steps_per_epoch=2")

ARTIFACTS = (
    "saved_model",
    "student.onnx",
    "student.tflite",
    "student_int8.onnx",
    "student_int8.tflite",
)


def start(name, *arguments, **variables):
    """Starts a command in the environment of a user, who has set none of ours."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TF_CPP_")}
    return subprocess.Popen(
        [Path(sys.executable).parent / name, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, **variables},
    )


def succeed(name, *arguments):
    process = start(name, *arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    others = [x for x in err.splitlines() if not x.startswith("warning: ")]
    assert others == [], "only our own warnings"
    return out


@pytest.fixture
def here(parse, capsys):
    """Runs a command's `main` in this process; returns its output."""

    def here(name, command, *arguments, expected=()):
        parse(*resolve_flagfiles(arguments))
        capsys.readouterr()
        guarded(name, command.main, expected)([name])
        return capsys.readouterr().out

    return here


def test_a_command_that_fails_says_only_why(parse, monkeypatch, capfd):
    # All of it but the process: the whole job starts those.
    monkeypatch.setattr(sys, "argv", ["diffkd-evaluate", "--epoch=3"])
    monkeypatch.setattr(logging.root, "handlers", [])  # absl puts its own there.
    with pytest.raises(SystemExit) as stopped:
        commands.evaluate()
    assert stopped.value.code == 1
    message = "Unknown command line flag 'epoch'. Did you mean: epochs ?"
    assert capfd.readouterr().err == f"diffkd-evaluate: error: {message}\n"


NATIVE = "I0000 00:00:1 a.cc:1] oneDNN is on\nF0000 00:00:1 a.cc:2] No AVX here\n"


def test_a_user_who_asks_for_the_lines_of_tensorflow_gets_them(tmp_path):
    """From stand-ins for Keras, which loads it, and for the command."""
    folder = tmp_path / "keras_diffkd" / "recipes"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (tmp_path / "keras.py").write_text(f"import os\nos.write(2, {NATIVE.encode()})")
    (folder / "distill.py").write_text("def run():\n    print('it ran')")
    process = start(
        "diffkd-distill", PYTHONPATH=str(tmp_path), TF_CPP_MIN_LOG_LEVEL="0"
    )
    assert process.communicate() == ("it ran\n", NATIVE)


@pytest.mark.parametrize(
    ("end", "shown"),
    [
        ('raise ImportError("no such library")', NATIVE),
        ("os.abort()", NATIVE.splitlines(keepends=True)[1]),
    ],
)
def test_an_import_that_fails_shows_what_was_held(tmp_path, end, shown):
    (tmp_path / "keras.py").write_text(
        f"import os\nos.write(2, {NATIVE.encode()})\n{end}"
    )
    process = start("diffkd-distill", PYTHONPATH=str(tmp_path))
    _, err = process.communicate()
    assert process.returncode != 0
    assert err.startswith(shown)
    assert ("ImportError: no such library" in err) == ("ImportError" in end)


@pytest.mark.long
def test_the_whole_job(tmp_path, here, capsys):
    """One test, since the workers of pytest-xdist would each run the chain again."""
    root, run = tmp_path, tmp_path / "run"
    folder = write_digits_of_tfds(root / "digits")
    run_dir, data = f"--run_dir={run}", f"--data_dir={root / 'data'}"
    tiny = (*TINY, f"--dataset={folder}", run_dir, data)
    trained = here("diffkd-train-teacher", train_teacher, *tiny)
    succeed("diffkd-distill", *tiny, "--baseline")
    exported = succeed(
        "diffkd-export",
        run_dir,
        "--formats=onnx,tflite,saved_model,web",
        f"--web_runtime={fake_runtime(root / 'runtime')}",
        "--quantize=int8",
        # Of a student that has hardly been trained.
        "--quantized_tolerance=0.2",
    )
    evaluated = here("diffkd-evaluate", evaluate, run_dir, f"--picture={run / 'p.png'}")
    verified = here("diffkd-verify", verify, run_dir, "--quantized_tolerance=0.2")

    assert "1,352 training and 445 test images of 10 classes" in trained
    assert f"Report: {run / 'export' / 'report.html'}" in exported
    check_records(run)
    check_models(run)
    check_export(run)
    check_accuracy_of_the_file(run, folder / "test")
    assert (run / "p.png").stat().st_size > 1000
    for row in ("teacher", "student alone", "distilled student"):
        assert f"\n{row} " in evaluated
    assert "\ndigits, 445 test images" in f"\n{evaluated}"
    for artifact in ARTIFACTS:
        assert artifact in exported
        assert artifact in verified
    assert "445 samples" in verified
    check_finished_run_is_left_alone(run, here)
    check_truncated_artifact_fails(run, here, capsys)


def check_records(run):
    for stage in (run, run / "teacher", run / "baseline"):
        assert (stage / "flags.txt").is_file()
        assert any((stage / "tensorboard").rglob("events.*"))
        assert (stage / "checkpoints").is_dir()
        [line] = read_metrics(stage / "metrics.jsonl")
        assert line["epoch"] == 1
        assert {"loss", "accuracy", "val_accuracy", "learning_rate"} < set(line)
    assert not list(run.rglob("*partial*"))
    # The logs tell whether distillation works.
    [distilled] = read_metrics(run / "metrics.jsonl")
    for name in ("diffkd_features/distill", "diffkd_logits/denoise", "task_loss"):
        assert np.isfinite(distilled[name])
    [alone] = read_metrics(run / "baseline" / "metrics.jsonl")
    assert not any("diffkd" in name for name in alone)


def check_models(run):
    paths = [run / "teacher.keras", run / "student.keras"]
    paths.append(run / "baseline" / "student.keras")
    teacher, student, alone = (keras.models.load_model(path) for path in paths)
    for model in (teacher, student, alone):
        assert not model.compiled
        assert model.output_shape == (None, 10)
    assert teacher.count_params() > student.count_params() == alone.count_params()
    x = np.ones((1, 8, 8, 1), "float32")
    assert not np.allclose(student(x), alone(x))


def check_export(run):
    for artifact in ARTIFACTS:
        assert (run / "export" / artifact).exists()
    report = json.loads((run / "export" / "report.json").read_text())
    assert report["ok"] is True
    page = (run / "export" / "report.html").read_text()
    for title in ("Did distillation help?", "Artifacts", "Predictions"):
        assert title in page
    manifest = json.loads((run / "export" / "manifest.json").read_text())
    assert manifest["input"]["normalized_by"] == "artifact"
    assert manifest["warnings"] == []
    for entry in manifest["artifacts"].values():
        assert entry["inputs"][0]["dtype"] == "uint8"
    int8 = manifest["artifacts"]["tflite_int8"]["quantization"]
    assert int8["calibration"] == {"num_samples": 256, "samples": "given"}
    assert manifest["labels"] == [str(digit) for digit in range(10)]
    assert manifest["source"]["student"] == str(run / "student.keras")
    assert manifest["source"]["experiment"]["dataset"] == "digits"
    page = json.loads((run / "export" / "web" / "page.json").read_text())
    assert len(page["samples"]) == 8
    assert {sample["label"] for sample in page["samples"]} <= set(manifest["labels"])


def check_accuracy_of_the_file(run, folder):
    """NumPy and the runtime alone find what the report says, in the user's files."""
    runner = Interpreter(str(run / "export" / "student_int8.tflite"))
    signature = runner.get_signature_runner()
    classes = sorted(path.name for path in folder.iterdir())
    hits = []
    for path in folder.rglob("*.png"):
        pixels = np.asarray(Image.open(path))[None, :, :, None]
        (logits,) = signature(image=pixels).values()
        hits.append(classes[np.argmax(logits)] == path.parent.name)
    assert len(hits) == 445
    report = json.loads((run / "export" / "report.json").read_text())
    assert report["artifacts"]["tflite_int8"]["accuracy"] == np.mean(hits)


def check_finished_run_is_left_alone(run, here):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    output = here("diffkd-distill", distill, f"--flagfile={run / 'flags.txt'}")
    assert "student.keras is finished; nothing to do" in output
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def check_truncated_artifact_fails(run, here, capsys):
    artifact = run / "export" / "student.onnx"
    artifact.write_bytes(artifact.read_bytes()[:1000])
    with pytest.raises(SystemExit) as stopped:
        here(
            "diffkd-verify",
            verify,
            f"--run_dir={run}",
            expected=(VerificationError,),
        )
    assert stopped.value.code == 1
    out, err = capsys.readouterr()
    assert "student.tflite" in out
    # TensorFlow may have lines of its own there.
    prefix = "diffkd-verify: error: "
    [line] = [line for line in err.splitlines() if line.startswith(prefix)]
    assert "student.onnx" in line
    report = json.loads((run / "export" / "report.json").read_text())
    assert report["ok"] is False
    assert list(report["failures"]) == ["student.onnx"]
