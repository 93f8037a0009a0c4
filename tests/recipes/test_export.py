import pytest

from keras_diffkd.export import VerificationError
from keras_diffkd.recipes import export


def test_a_failed_export_shows_what_failed(monkeypatch, capsys):
    result = {"file": "student.onnx", "size": 9, "ok": False, "latency_ms": None}
    report = {
        "output_dir": "export",
        "metrics": [],
        "artifacts": {"onnx": {**result, "max_difference": 0.5, "agreement": 0.25}},
        "failures": {"student.onnx": ["out of tolerance"]},
        "keras": {"latency_ms": 1.0, "num_threads": 4},
        "batch_size": None,
        "num_samples": 8,
        "samples": "given",
    }

    def fail():
        raise VerificationError(report)

    monkeypatch.setattr(export, "write_artifacts", fail)
    with pytest.raises(VerificationError):
        export.main([])
    printed = capsys.readouterr().out
    assert "5.0e-01" in printed
    assert "FAILED" in printed
    assert "student.onnx: out of tolerance" in printed
