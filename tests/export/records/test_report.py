"""report.json, as other programs read it."""

import datetime
import json
import os

import pytest

from keras_diffkd.export import VerificationError, verify, write_verification_report
from keras_diffkd.export.records.report import read_verification_report


def test_report_of_an_export(exported, images):
    report = json.loads((exported / "report.json").read_text())
    manifest = json.loads((exported / "manifest.json").read_text())

    assert report["ok"] is True
    assert report["failures"] == {}
    assert report["output_dir"] == str(exported)
    assert report["num_samples"] == len(images)
    when = datetime.datetime.fromisoformat(report["date"])
    age = datetime.datetime.now(datetime.UTC) - when
    assert datetime.timedelta(0) <= age < datetime.timedelta(hours=1)
    assert report["machine"]["cores"] == os.cpu_count()
    assert report["thresholds"]["tolerance"] == 1e-4
    assert report["thresholds"]["quantized_tolerance"] == 0.005
    for package in ("keras", "tensorflow", "onnxruntime", "ai-edge-litert"):
        assert report["versions"][package] == manifest["versions"][package]
    assert report["keras"]["latency_ms"] > 0
    assert report["keras"]["num_threads"] >= 1
    for name, entry in manifest["artifacts"].items():
        result = report["artifacts"][name]
        assert result["ok"] is True
        assert result["latency_ms"] > 0
        assert result["sha256"] == entry["sha256"]
        assert result["max_difference"] == entry["verification"]["max_difference"]
        # The manifest is the same on every machine.
        assert "latency_ms" not in entry["verification"]
    assert report["artifacts"]["onnx"]["num_threads"] == 1


def test_report_of_a_failure(export_copy, student, images):
    (export_copy / "student.onnx").unlink()
    path = export_copy / "report.json"
    with pytest.raises(VerificationError) as error:
        verify(export_copy, student, images[:4])

    write_verification_report(path, error.value.report)

    report = json.loads(path.read_text())
    assert report["ok"] is False
    assert report["failures"] == {"student.onnx": ["missing"]}
    assert report["artifacts"]["onnx"]["reasons"] == ["missing"]
    assert report["artifacts"]["tflite"]["ok"] is True
    assert [p.name for p in export_copy.parent.iterdir()] == ["export"]


def test_report_without_a_manifest(export_copy, student, images):
    (export_copy / "manifest.json").unlink()
    with pytest.raises(VerificationError) as error:
        verify(export_copy, student, images[:4])

    path = export_copy / "report.json"
    assert not write_verification_report(path, error.value.report)["ok"]
    assert read_verification_report(path)["failures"] == {"manifest.json": ["missing"]}


def test_an_older_report_stays_until_the_new_one_is_complete(export_copy, monkeypatch):
    path = export_copy / "report.json"
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_verification_report(path, {"failures": {}})
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="JSON compliant"):
        write_verification_report(path, {"failures": {}, "tolerance": float("nan")})
    assert path.read_bytes() == before
    assert [p.name for p in export_copy.parent.iterdir()] == ["export"]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"generator": "other"}'])
def test_what_is_no_report(content, tmp_path):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    assert read_verification_report(path) is None
