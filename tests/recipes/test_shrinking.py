"""Students that the commands make out of the teacher."""

import json

import pytest
from absl import flags
from helpers.digit_networks import network
from masked_teacher import randomized

from keras_diffkd.export.records.report import read_verification_report
from keras_diffkd.models import load_model
from keras_diffkd.pruning import taylor
from keras_diffkd.pruning.exporting import FileCost
from keras_diffkd.recipes import distill, export, shrinking, verify
from keras_diffkd.recipes.report.write import write_report
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.recipes.run.experiment import read_flags


@pytest.fixture
def run_of(parse, tmp_path, data_dir):
    """Runs `diffkd-distill` with a teacher of 32 channels; returns the run."""

    def run_of(*arguments, teacher=None):
        if not (tmp_path / "teacher.keras").exists():
            # TFLite stores equal weights, such as biases of zeros, once.
            randomized(teacher or network(32)).save(tmp_path / "teacher.keras")
        parse(
            f"--run_dir={tmp_path / 'run'}",
            f"--data_dir={data_dir}",
            "--dataset=digits",
            f"--teacher={tmp_path / 'teacher.keras'}",
            "--steps_per_epoch=2",
            "--epochs=1",
            "--method=kd",
            *arguments,
        )
        distill.main([])
        return RunDirectory(tmp_path / "run")

    return run_of


def filters(path):
    return load_model(str(path)).get_layer("features").output.shape[-1]


def test_a_width(run_of, monkeypatch):
    monkeypatch.setattr(taylor, "BATCHES", 2)
    run = run_of("--student=shrink:0.5", "--baseline", "--importance=taylor")
    assert filters(run.student) == filters(run.baseline) == 16
    assert read_flags(run.root)["student"] == "shrink:0.5"
    assert not (run.root / shrinking.FILE_NAME).exists()


def test_to_a_size_with_real_files(run_of, capsys):
    """Exported, chosen, trained, exported again and measured by diffkd-verify."""
    run = run_of("--max_kb=6.7", "--max_latency_ms=1000")
    printed = capsys.readouterr().out
    assert "chosen" in printed
    width = json.loads((run.root / shrinking.FILE_NAME).read_text())["width"]
    assert f"shrink:{width:g}" in printed
    assert filters(run.student) in (16, 24)
    directory = f"--run_dir={run.root}"
    run_command(export, directory, "--formats=tflite")
    assert "of --max_kb=6.7, met" in capsys.readouterr().out
    page = (run.export / "report.html").read_text()
    assert '<h2 id="candidates">' in page
    assert "of --max_latency_ms=1000, met" in page
    run_command(verify, directory)
    assert "of --max_kb=6.7, met" in capsys.readouterr().out
    # As the file was measured, not as the candidate was.
    report = read_verification_report(run.export / "report.json")
    [result] = report["artifacts"].values()
    settings = {"max_latency_ms": result["latency_ms"] / 2, "importance": "l2"}
    [line] = shrinking.describe_limits(report, settings)
    assert f"{result['latency_ms']:.3f} of --max_latency_ms=" in line
    assert "NOT met" in line


def run_command(command, *arguments):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["test", *arguments])
    command.main([])


@pytest.fixture
def times(monkeypatch):
    """Lets a file take a millisecond for 100 parameters; lists what was measured."""
    measured = []

    def cost(model, **options):
        measured.append(model.count_params())
        return FileCost(model.count_params() / 50, model.count_params() / 100)

    monkeypatch.setattr(shrinking, "exported", cost)
    return measured


def test_to_a_latency(run_of, times, capsys):
    run = run_of("--max_latency_ms=4.5", "--seeds=2")
    # 24 channels have 586 parameters, 16 have 394.
    assert filters(run.student) == 16
    assert filters(run.root / "seeds" / "1" / "student.keras") == 16
    recorded = shrinking.read_choice(run)
    assert recorded.settings == {"max_latency_ms": 4.5, "importance": None}
    assert max(each.milliseconds for each in recorded.candidates) > 4.5
    assert len(times) == len(recorded.candidates)
    assert read_flags(run.root)["student"] == "shrink"
    assert "<svg" in write_report(run).read_text()
    # The same command again measures nothing: other times would be another student.
    before = len(times)
    run_of("--max_latency_ms=4.5", "--epochs=2")
    assert len(times) == before
    with pytest.raises(ValueError, match="--max_latency_ms was 4.5, now 9"):
        run_of("--max_latency_ms=9")


def test_both_limits_hold(run_of, times):
    run = run_of("--student=shrink", "--max_latency_ms=100", "--max_kb=5")
    assert filters(run.student) == 8


def test_a_limit_that_cannot_be_met_says_what_can(run_of, times, capsys, tmp_path):
    with pytest.raises(ValueError, match=r"shrink:0.25, would meet --max_lat.*=2.02"):
        run_of("--max_latency_ms=1")
    assert "shrink:0.25" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--student=shrink"], "needs a width, such as shrink:0.5, or a limit"),
        (["--student=shrink:0.5", "--max_kb=9"], "shrink:0.5 --max_kb=9"),
        (["--student=shrink:half"], "Received: --student=shrink:half"),
        (["--student=shrink:0"], "width above 0 and up to 1"),
        (["--student=shrink:0.9"], "divisor=8, which all layers keep whole"),
        (["--student=digits_student", "--max_kb=9"], "is about --student=shrink"),
        (["--student=resnet20", "--importance=l2"], "--importance is about"),
        (["--max_kb=9", "--strategy=multi_worker"], "machines differ in speed"),
        (["--student=shrink:0.5", "--teacher=", "--method=none"], "--teacher is req"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refuses_and_writes_nothing(run_of, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run_of(*arguments, teacher=network(16))
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes(run_of):
    with pytest.raises(ValueError, match="4 classes, and a data set of 10"):
        run_of("--student=shrink:0.5", "--method=none", teacher=network(16, classes=4))
