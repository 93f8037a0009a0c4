import pytest

from keras_diffkd.export import VerificationError
from keras_diffkd.recipes import export


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], None), (["--batch=dynamic"], None), (["--batch=1"], 1), (["--batch=16"], 16)],
)
def test_batch_sizes(arguments, expected, parse):
    parse(*arguments)
    assert export.options()["batch_size"] == expected


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "any", ""])
def test_what_is_no_batch_size(text, parse):
    parse(f"--batch={text}")
    with pytest.raises(ValueError, match=f"or a positive number.*--batch={text}$"):
        export.options()


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
