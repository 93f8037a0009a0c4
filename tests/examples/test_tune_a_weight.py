"""The example as a newcomer runs it: a process, without a network."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.scripts import run_example

SCRIPT = Path(__file__).parents[2] / "examples" / "tune_a_weight.py"
pytestmark = pytest.mark.backend("tensorflow")
SETTING = r"(?:kd|diffkd), weight (?:balanced|[\d.]+), learning rate [\d.]+"


def run(*arguments):
    return run_example(SCRIPT, "--epochs=1", *arguments)


@pytest.mark.long
def test_the_best_of_two_settings_is_trained_again(tmp_path, data_dir):
    pytest.importorskip("keras_tuner")
    printed = run(
        "--trials=2",
        "--teacher_epochs=1",
        "--examples_per_class=20",
        f"--data_dir={data_dir}",
        f"--output_dir={tmp_path}",
    )
    # The images of the search are not those of the test.
    assert "judged by 270 images" in printed
    assert "On 445 test images" in printed
    trials = re.findall(rf"^({SETTING}) +([\d.]+)% validation$", printed, re.MULTILINE)
    scores = [float(score) for _, score in trials]
    assert len({setting for setting, _ in trials}) == 2
    assert scores == sorted(scores, reverse=True)
    rows = dict(re.findall(r"^(.+?) {2,}([\d.]+)%(?! val)", printed, re.MULTILINE))
    assert list(rows) == [
        "student alone",
        "default: kd, weight balanced, learning rate 0.1",
        f"best: {trials[0][0]}",
    ]
    student = keras.models.load_model(tmp_path / "student.keras")
    assert student(np.zeros((2, 8, 8, 1), "float32")).shape == (2, 10)
    assert (tmp_path / "teacher.keras").exists()
