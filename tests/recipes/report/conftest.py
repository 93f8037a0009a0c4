import pytest
from helpers.run_records import EPOCHS, curve, distilled, write_stage

from keras_diffkd.recipes.report import write as write_module
from keras_diffkd.recipes.run import experiment
from keras_diffkd.recipes.run.directory import RunDirectory


@pytest.fixture
def write_run(parse, tmp_path):
    """Writes a whole run; arguments replace parts of it, None leaves them out."""

    def write_run(student=None, baseline=(), teacher=(), arguments=(), seeds=()):
        parse(
            "--dataset=digits",
            "--method=diffkd_features",
            f"--epochs={EPOCHS}",
            "--teacher=digits_teacher",
            "--student=digits_student",
            "--denoise_weight=2",
            *arguments,
        )
        settings = experiment.recorded(run_dir=str(tmp_path))
        alone = {**settings, "method": "none"}
        write_stage(tmp_path, settings, student or distilled(0.95))
        if baseline is not None:
            write_stage(tmp_path / "baseline", alone, baseline or curve(0.93))
        if teacher is not None:
            write_stage(tmp_path / "teacher", settings, teacher or curve(0.99))
        for seed, (first, second) in enumerate(seeds, start=1):
            own = {**settings, "seed": str(seed)}
            folder = tmp_path / "seeds" / str(seed)
            write_stage(folder, own, distilled(first))
            write_stage(folder / "baseline", {**own, "method": "none"}, curve(second))
        return RunDirectory(tmp_path)

    return write_run


@pytest.fixture
def without_curves(monkeypatch):
    """Draws nothing, which takes the most time."""
    monkeypatch.setattr(
        write_module.figures, "draw_curves", lambda *_, **__: "<svg></svg>"
    )
