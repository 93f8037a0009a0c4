from keras_diffkd.export import format_table
from keras_diffkd.export.records.table import align_columns

RESULT = {
    "file": "student.onnx",
    "size": 13_100,
    "ok": True,
    "max_difference": 1.9e-6,
    "agreement": 1.0,
    "accuracy": 0.985,
    "mean_iou": 0.5,
    "latency_ms": 0.021,
}


def test_report_has_columns_and_reasons():
    failed = {
        **RESULT,
        "file": "saved_model",
        "size": 2_500_000,
        "ok": False,
        "max_difference": None,
        "agreement": None,
        "accuracy": None,
        "mean_iou": None,
        "latency_ms": None,
    }
    report = {
        "batch_size": None,
        "num_samples": 450,
        "samples": "given",
        "metrics": ["accuracy", "mean_iou"],
        "keras": {"accuracy": 0.985, "mean_iou": 0.5, "latency_ms": 0.4}
        | {"num_threads": 4},
        "artifacts": {"saved_model": failed, "onnx": RESULT},
        "failures": {"saved_model": ["missing"]},
    }

    lines = format_table(report).splitlines()

    columns = ("size", "max diff", "agreement", "accuracy", "mean_iou", "latency", "ok")
    for column in columns:
        end = lines[0].index(column) + len(column)
        assert all(line[end : end + 1] in (" ", "") for line in lines[:5])
    assert lines[3].split() == ["saved_model", "2.5", "MB", *"-----", "FAILED"]
    assert "13.1 kB" in lines[4]
    assert "1.9e-06" in lines[4]
    assert "100.00%" in lines[4]
    assert lines[4].endswith("yes")
    assert "450 samples" in lines[5]
    assert "at batch size 1, one thread (TensorFlow: 4)" in lines[5]
    assert lines[6] == "saved_model: missing"


def test_report_of_an_unreadable_manifest():
    report = {"output_dir": "export", "failures": {"manifest.json": ["missing"]}}
    assert format_table(report) == "manifest.json: missing"


def test_columns_are_aligned_and_missing_values_are_dashes():
    table = align_columns(["model", "accuracy"], [["teacher", "99%"], ["x", None]])
    assert table.split("\n") == [
        "model    accuracy",
        "-------  --------",
        "teacher       99%",
        "x               -",
    ]
