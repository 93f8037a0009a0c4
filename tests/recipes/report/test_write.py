"""The page about a run, on runs that are written here: nothing is trained."""

import json
import re

import pytest
from helpers.run_records import curve, distilled, page_of, text_of, write_stage

from keras_diffkd.export.records.manifest import GENERATOR, VERSION, write_manifest
from keras_diffkd.recipes import export
from keras_diffkd.recipes.report import write as write_module
from keras_diffkd.recipes.report.write import missing_packages, write_report
from keras_diffkd.recipes.run import experiment

# A PNG of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)


def artifact(file, size, accuracy):
    found = {"max_difference": 1e-6, "agreement": 1.0, "accuracy": accuracy}
    found["warnings"] = []
    described = {"sha256": file, "inputs": [], "outputs": []}
    return {"file": file, "size": size, **described, "verification": found}


MANIFEST = {
    "generator": GENERATOR,
    "version": VERSION,
    "student": {"name": "student", "parameters": 1234},
    "versions": {"python": "3.11.0", "keras": "3.15.1"},
    "source": {"student": "runs/<b>/student.keras"},
    "verification": {"metrics": ["accuracy"], "num_samples": 99, "tolerance": 1e-4},
    "artifacts": {
        "onnx": artifact("student.onnx", 13_000, 0.951),
        "tflite": artifact("student.tflite", 14_000, 0.951),
        "tflite_int8": artifact("student_int8.tflite", 4_000, 0.95)
        | {"quantization": {"ranges_from": "learned in training"}},
    },
}
MANIFEST["artifacts"]["tflite_int8"]["verification"]["simulation"] = {
    "mean_steps": 0.0123,
    "max_steps": 1.0,
    "agreement": 0.9991,
}


def add_export(run):
    run.export.mkdir()
    write_manifest(run.export, MANIFEST)
    run.teacher.write_bytes(b"t" * 500_000)


def test_a_full_run_has_every_section(write_run):
    run = write_run()
    add_export(run)
    pictures = run.root / "pictures"
    pictures.mkdir()
    for epoch in (5, 10):
        (pictures / f"diffkd_features_epoch_{epoch:04d}.png").write_bytes(PIXEL)

    page = page_of(run)
    titles = [text_of(found) for found in re.findall(r"<h2.*?</h2>", page)]
    assert titles == [
        "Did distillation help?",
        "Warnings",
        "Artifacts",
        "Models and settings",
        "Share of each loss",
        "Training",
        "Features",
    ]
    text = text_of(page)
    assert "Distilled from digits_teacher with diffkd_features on digits" in text
    assert "distilled student 1,234 – 6 12 s 95.00%" in text
    assert "+2.00 points" in text
    assert "diffkd_features, epoch 10" in text
    assert "epoch 5" not in text
    assert "student.onnx onnx 13.0 kB 1.0e-06 100.00% 95.10%" in text
    assert (
        "student_int8.tflite: ranges learned in training; 0.012 int8 steps from the "
        "simulated student on average, 1.0 at most, same prediction for 99.91%." in text
    )
    assert "--denoise_weight 2.0" in text
    assert "denoise trains what the method adds to the student. Its gradient" in text


@pytest.mark.usefixtures("without_curves")
def test_the_int8_student_and_its_files(write_run):
    run = write_run()
    add_export(run)
    settings = experiment.read_flags(run.root)
    write_stage(run.quantized.parent, settings, curve(0.9475))
    assert "int8 student" not in text_of(page_of(run)), "not finished"
    run.quantized.touch()

    text = text_of(page_of(run))
    assert "trained on for 6 epochs as int8 files compute it" in text
    assert "Before, the float student had 95.00% accuracy" in text
    assert "int8 student, simulated 94.75% −0.25 points" in text
    assert "student_int8.tflite 95.00% +0.00 points" in text
    assert "student.tflite 95.10% +0.10 points" not in text, "a float file"


VERIFICATION = {
    "generator": "keras_diffkd.export.verify",
    "version": 1,
    "date": "2026-01-02T03:04:05+00:00",
    "ok": True,
    "batch_size": None,
    "machine": {"processor": "Abacus"},
    "keras": {"accuracy": 0.951, "latency_ms": 0.5, "num_threads": 3},
    "artifacts": {
        "onnx": {"sha256": "student.onnx", "latency_ms": 0.25},
        "tflite": {"sha256": "student.tflite", "latency_ms": 0.125},
        "tflite_int8": {"sha256": "student_int8.tflite", "latency_ms": 0.1},
    },
    "warnings": ["student.tflite is slow"],
    "failures": {},
}


def add_verification(run, **changes):
    path = run.export / "report.json"
    path.write_text(json.dumps({**VERIFICATION, **changes}))


@pytest.mark.usefixtures("without_curves")
def test_latencies_are_those_of_the_last_verification(write_run):
    run = write_run()
    add_export(run)
    add_verification(run)

    page = page_of(run)
    text = text_of(page)
    assert "student.onnx onnx 13.0 kB 1.0e-06 100.00% 95.10% 0.250 ms" in text
    assert "Keras student tf.function – – – 95.10% 0.500 ms" in text
    assert "1 image, in one thread (TensorFlow: 3), on Abacus, 2026" in text
    assert "student.tflite is slow" in text
    [sizes, times] = re.findall(r'aria-label="(accuracy against .*?)"', page)
    assert "size of the file: teacher, Keras 500 kB 99.0%" in sizes
    assert "latency at batch size 1: tf.function, Keras 0.5 ms 95.1%" in times
    assert "student.tflite 0.125 ms 95.1%" in times


@pytest.mark.usefixtures("without_curves")
def test_latencies_of_other_files_are_not_shown(write_run):
    run = write_run()
    add_export(run)
    others = {"onnx": {"sha256": "another", "latency_ms": 0.25}}
    add_verification(run, artifacts={**VERIFICATION["artifacts"], **others})
    page = page_of(run)
    assert "0.250 ms" not in page
    assert "against latency" not in page
    assert "against size" in page


@pytest.mark.usefixtures("without_curves")
def test_failed_verification_is_told(write_run):
    run = write_run()
    add_export(run)
    add_verification(run, ok=False, failures={"student.onnx": ["missing"]})
    assert "student.onnx has failed: missing" in text_of(page_of(run))


def test_every_named_loss_has_a_panel_and_a_description(write_run):
    page = page_of(write_run())
    panels = re.findall(r'role="img" aria-label="(.*?)"', page)
    starts = [panel.split(" over the epochs")[0] for panel in panels]
    assert starts == [
        "accuracy, test split",
        "task loss",
        "loss, test split",
        "diffkd_features/distill",
        "diffkd_features/denoise",
        "total loss",
        "learning rate",
        "diffkd_features/γ",
    ]
    assert "teacher 50.0% to 99.0%, student alone 50.0% to 93.0%" in panels[0]
    assert page.count("<svg") == len(panels)


@pytest.mark.usefixtures("without_curves")
def test_sections_without_data_are_left_out(write_run):
    page = page_of(write_run(baseline=None, teacher=None))
    for title in ("Features", "Artifacts", "Predictions", "disagree"):
        assert title not in page
    assert "diffkd-distill --baseline" in text_of(page)


@pytest.mark.usefixtures("without_curves")
def test_a_run_without_a_method_is_a_student_alone(write_run):
    run = write_run(student=curve(0.9), baseline=None, arguments=("--method=none",))
    text = text_of(page_of(run))
    assert "Trained alone on digits" in text
    assert "student alone – – 6 12 s 90.00%" in text
    assert "Warnings" not in text


def test_the_page_needs_nothing_else(write_run):
    run = write_run()
    add_export(run)
    page = page_of(run)
    assert "<script" not in page
    assert "@import" not in page
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith(("data:", "#")), address
    for address in re.findall(r"url\(([^)]*)\)", page):
        assert address.startswith("#"), address
    assert "#0000f" not in page  # Colors come from the style sheet.


@pytest.mark.usefixtures("without_curves")
def test_markup_in_flags_is_text(write_run):
    evil = "<script>alert('x')</script>"
    run = write_run(arguments=(f"--teacher={evil}", "--data_dir=a&b"))
    add_export(run)
    page = page_of(run)
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "a&amp;b" in page
    assert "runs/<b>" not in page


def test_markup_in_records_is_text(write_run):
    """Of losses and classes, in tables, in titles and inside the figures."""
    evil = "<img src=x onerror=alert(1)>"
    run = write_run(student=distilled(0.95, **{f"mine/{evil}": 0.5}))
    add_export(run)
    manifest = {**MANIFEST, "labels": [evil], "warnings": [evil]}
    write_manifest(run.export, manifest)
    page = page_of(run)
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert "onerror=alert" not in re.sub("&lt;img.*?&gt;", "", page)


def test_missing_packages_are_named(write_run, monkeypatch):
    assert missing_packages() == []
    run = write_run()
    packages = {"no_such_package": "NoSuch", "jinja2": "Jinja2"}
    monkeypatch.setattr(write_module, "PACKAGES", packages)
    assert missing_packages() == ["NoSuch"]
    with pytest.raises(ImportError, match=r"NoSuch.*pip install matplotlib"):
        write_report(run)
    line = export.add_report(run, run.export, data=None)
    assert line.startswith("No report.html: NoSuch missing. Run `pip install")
    assert "\n" not in line
