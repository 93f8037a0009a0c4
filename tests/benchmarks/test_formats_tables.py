import types

import formats_tables

CASE = types.SimpleNamespace(title="student")


def make_results(size=30, accuracy=0.9, difference=1e-5, milliseconds=1.0):
    result = {
        "file": "file",
        "size": 100,
        "max_difference": difference,
        "agreement": 1.0,
        "accuracy": 0.9,
    }
    found = {name: dict(result) for name in ("onnx", "tflite", "tflite_int8")}
    found["tflite_int8"] |= {"size": size, "accuracy": accuracy}
    report = {
        "metrics": ["accuracy"],
        "keras": {"accuracy": 0.9},
        "artifacts": found,
    }
    times = {name: [milliseconds, milliseconds] for name in found}
    return {"student": (CASE, report, {formats_tables.PREDICT: [20.0, 20.0], **times})}


def test_targets_that_are_reached():
    [line] = formats_tables.targets(make_results(accuracy=0.895)).splitlines()[2:]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == ["student", "0.30", "-0.50", "1e-05", "1/20 (onnx)"]


def test_targets_that_are_missed():
    results = make_results(31, 0.894, 2e-4, 1.1)
    [line] = formats_tables.targets(results).splitlines()[2:]
    assert line.count("missed") == 4
    assert "**-0.60: missed**" in line


def test_rows_of_a_table():
    (_, report, times) = make_results()["student"]
    lines = formats_tables.table(report, times).splitlines()
    assert len(lines) == 2 + 4
    cells = [cell.strip() for cell in lines[-1].split("|")[1:-1]]
    assert cells[:3] == ["tflite_int8", "0.0", "0.30"]
    assert cells[-3:] == ["+0.00", "1.000 ± 0.000", "1/20"]
