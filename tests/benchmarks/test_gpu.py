"""The kit for a machine with a GPU, tiny and on the processor."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gpu_tables import as_text, common_seeds
from helpers.idx_files import write_idx_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path, rng):
    folder = tmp_path / "idx"
    folder.mkdir()
    images = [rng.integers(0, 256, (count, 28, 28)) for count in (64, 32)]
    write_idx_folder(folder, *images)
    return folder


@pytest.mark.long
def test_quick_run_measures_and_trains_everything(data, tmp_path):
    result = subprocess.run(
        [
            ROOT / "benchmarks" / "gpu.sh",
            "--quick",
            "--device=cpu",
            "--turns=2",
            "--seeds=2",
            "--minutes=30",
            f"--data={data}",
            f"--output={tmp_path / 'out'}",
        ],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["skipped"] == []
    assert results["about"]["device"] == "CPU"
    assert "TensorFlow" not in results["about"]["machine"]
    assert {step["case"]: len(step["times"]) for step in results["steps"]} == {
        "plain": 2,
        "features": 2,
    }
    assert all(step["flops"] > 1e5 for step in results["steps"])
    runs = {(run["row"], run["seed"]) for run in results["training"]}
    assert runs == {("student alone", 0), ("student alone", 1), ("KD", 0), ("KD", 1)}
    assert as_text(results) in result.stdout
    # Nothing is lost when a run is cut off.
    lines = (tmp_path / "out" / "events.jsonl").read_text().splitlines()
    trained = [line for line in map(json.loads, lines) if line["event"] == "trained"]
    assert len(trained) == 4


def test_tables_compare_within_turns_and_seeds():
    step = {"title": "pair", "dtype": "float32", "batch_size": 10, "first_step": 3.0}
    results = {
        "about": {
            "machine": "a machine",
            "device": "NVIDIA H100 80GB HBM3",
            "command": "gpu.sh",
            "regimes": [{"title": "few", "rows": ["student alone", "KD", "DIST"]}],
        },
        "steps": [
            {
                **step,
                "case": "both",
                "times": [0.2, 0.6],
                "flops": 49.4e12,
                "peak_bytes": 2**21,
            },
            {
                **step,
                "case": "plain",
                "times": [0.1, 0.2],
                "flops": 1e12,
                "peak_bytes": None,
            },
        ],
        "teacher": {"accuracy": 0.92},
        "training": [
            {"title": "few", "row": row, "seed": seed, "accuracy": accuracy}
            for row, values in {
                "student alone": [0.80, 0.82, 0.5],
                "KD": [0.85, 0.89],
            }.items()
            for seed, accuracy in enumerate(values)
        ],
        "skipped": ["steps: another"],
    }
    text = as_text(results)
    floor, both = (
        line
        for line in text.splitlines()
        if "100.00 |" in line or "400.00 |" in line or "150.00 |" in line
    )
    cells = [cell.strip() for cell in both.strip("|").split("|")]
    # Medians: 0.4 s; ratios 2 and 3; 49.4 TFLOP in 0.4 s of 494 TFLOP/s.
    assert cells[1:] == ["400.00", "2.50", "25", "3.0", "2", "25.0%"]
    assert "150.00" in floor
    assert "2 seeds of every row" in text
    assert "+6.00 (" in text
    assert "steps: another" in text


def test_common_seeds():
    runs = [
        {"row": row, "seed": seed, "accuracy": seed / 10}
        for row, seeds in {"a": (0, 1, 2), "b": (2, 0)}.items()
        for seed in seeds
    ]
    found = common_seeds(runs, ["b", "a", "c"])
    assert list(found) == ["b", "a"]
    np.testing.assert_allclose(found["a"], [0, 0.2])
    np.testing.assert_allclose(found["b"], [0, 0.2])
