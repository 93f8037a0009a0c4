import quantization_tables as tables
from quantization_students import ALONE, FLOAT, RESNET, STUDENT_ARMS

ARMS = STUDENT_ARMS[RESNET]


def record(arm, seed, exact, tflite, onnx=0.9):
    simulation = {} if arm == FLOAT else {"mean_steps": 0.25, "max_steps": 2.0}
    files = {"tflite_int8": {"value": tflite}, "onnx_int8": {"value": onnx}}
    for each in files.values():
        each.update(simulation)
        if simulation:
            each["agreement"] = 0.9987
    kind = {"student": RESNET, "arm": arm, "seed": seed, "keras": exact}
    about = {"metric": "accuracy", "parameters": 20_146, "steps": [7, 3]}
    return {**kind, **files, **about, "machine": "Abacus"}


RECORDS = [
    record(FLOAT, 0, 0.90, 0.88),
    record(FLOAT, 1, 0.92, 0.91),
    *(record(arm, seed, 0.5, 0.91) for seed in (0, 1) for arm in ARMS[1:]),
    record(ALONE, 2, 0.5, 0.1),  # Its seed is not complete.
]


def test_differences_are_within_a_seed():
    rows = tables.table(RECORDS, RESNET, ARMS).splitlines()
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    exact = "91.00 ± 1.41"
    assert cells[2] == ["float", "2", exact, exact, "", exact, ""]
    title, count, own, value, gained, *_ = cells[3]
    assert (title, count, own) == ("post-training int8", "2", exact)
    assert (value, gained) == ("89.50 ± 2.12", "-1.50 ± 0.71")
    assert cells[4][2:5] == ["50.00 ± 0.00", "91.00 ± 0.00", "+0.00 ± 1.41"]
    assert tables.table(RECORDS[:3], RESNET, ARMS) == ""


def test_the_section_and_its_figure(tmp_path):
    text = tables.report(RECORDS)
    assert "**ResNet, 20k weights**, accuracy (20,146 weights; 7 steps, then 3)" in text
    assert "over 18 files" in text
    assert "0.250 int8 steps on average, and the prediction is the same for 99.87%" in (
        text
    )
    tables.draw(RECORDS, tmp_path / tables.FIGURE)
    drawing = (tmp_path / tables.FIGURE).read_text()
    assert drawing.count("<use") >= 16  # One mark for each seed, arm and file.
