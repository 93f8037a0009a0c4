"""The page about a run, on runs that are written here: nothing is trained."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from keras_diffkd.export.records.manifest import GENERATOR, VERSION, write_manifest
from keras_diffkd.recipes import export
from keras_diffkd.recipes.report import write as write_module
from keras_diffkd.recipes.report.gains import paired_gain
from keras_diffkd.recipes.report.losses import loss_shares
from keras_diffkd.recipes.report.write import missing_packages, write_report
from keras_diffkd.recipes.run import experiment
from keras_diffkd.recipes.run.directory import RunDirectory

EPOCHS = 6
# A PNG of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)


def curve(final, **names):
    """Lines of a `metrics.jsonl`; values are a constant or one for each epoch."""
    columns = {
        "loss": np.linspace(2.0, 1.0, EPOCHS) ** 0.1,
        "task_loss": 0.25,
        "val_loss": 0.3,
        "val_accuracy": np.linspace(0.5, final, EPOCHS),
        "seconds": 2.0,
        "learning_rate": 0.1,
        **names,
    }
    values = {name: np.broadcast_to(v, EPOCHS) for name, v in columns.items()}
    return [
        {"epoch": i + 1, **{name: float(v[i]) for name, v in values.items()}}
        for i in range(EPOCHS)
    ]


def distilled(final, **names):
    losses = {
        "diffkd_features/distill": 0.5,
        "diffkd_features/denoise": 0.125,
        "diffkd_features/gamma": np.linspace(0.5, 0.9, EPOCHS),
    }
    return curve(final, **{**losses, **names})


def write_stage(folder, settings, lines):
    folder.mkdir(parents=True, exist_ok=True)
    experiment.write_flags(folder, settings)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)


def artefact(file, size, accuracy):
    found = {"max_difference": 1e-6, "agreement": 1.0, "accuracy": accuracy}
    found["warnings"] = []
    described = {"sha256": file, "inputs": [], "outputs": []}
    return {"file": file, "size": size, **described, "verification": found}


MANIFEST = {
    "generator": GENERATOR,
    "version": VERSION,
    "student": {"name": "student", "parameters": 1234},
    "versions": {"python": "3.11.0", "keras": "3.15.1"},
    "source": {"student": "runs/<b>/student.keras"},
    "verification": {"metrics": ["accuracy"], "num_samples": 99, "tolerance": 1e-4},
    "artefacts": {
        "onnx": artefact("student.onnx", 13_000, 0.951),
        "tflite": artefact("student.tflite", 14_000, 0.951),
    },
}


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


def page_of(run):
    path = write_report(run)
    assert path == run.export / "report.html"
    assert not list(run.root.rglob("*partial*"))
    return path.read_text(encoding="utf-8")


def text_of(page):
    """Returns what a reader sees, on one line."""
    body = re.sub(r"<(style|svg).*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body.replace("<wbr>", "")).split())


def warnings_of(run):
    found = re.search(r'<aside class="warnings".*?</aside>', page_of(run), re.DOTALL)
    return text_of(found[0]) if found else ""


def add_export(run):
    run.export.mkdir()
    write_manifest(run.export, MANIFEST)
    run.teacher.write_bytes(b"t" * 500_000)


def test_a_full_run_has_every_section(write_run):
    run = write_run()
    add_export(run)
    pictures = run.root / "pictures"
    pictures.mkdir()
    for epoch in (5, 10):
        (pictures / f"diffkd_features_epoch_{epoch:04d}.png").write_bytes(PIXEL)

    page = page_of(run)
    titles = [text_of(found) for found in re.findall(r"<h2.*?</h2>", page)]
    assert titles == [
        "Did distillation help?",
        "Warnings",
        "Models and settings",
        "Share of each loss",
        "Training",
        "Features",
        "Artefacts",
    ]
    text = text_of(page)
    assert "Distilled from digits_teacher with diffkd_features on digits" in text
    assert "distilled student 1,234 – 6 12 s 95.00%" in text
    assert "+2.00 points" in text
    assert "diffkd_features, epoch 10" in text
    assert "epoch 5" not in text
    assert "student.onnx onnx 13.0 kB 1.0e-06 100.00% 95.10%" in text
    assert "--denoise_weight 2.0" in text


VERIFICATION = {
    "generator": "keras_diffkd.export.verify",
    "version": 1,
    "date": "2026-01-02T03:04:05+00:00",
    "ok": True,
    "batch_size": None,
    "machine": {"processor": "Abacus"},
    "keras": {"accuracy": 0.951, "latency_ms": 0.5, "num_threads": 3},
    "artefacts": {
        "onnx": {"sha256": "student.onnx", "latency_ms": 0.25},
        "tflite": {"sha256": "student.tflite", "latency_ms": 0.125},
    },
    "warnings": ["student.tflite is slow"],
    "failures": {},
}


def add_verification(run, **changes):
    path = run.export / "report.json"
    path.write_text(json.dumps({**VERIFICATION, **changes}))


@pytest.mark.usefixtures("without_curves")
def test_latencies_are_those_of_the_last_verification(write_run):
    run = write_run()
    add_export(run)
    add_verification(run)

    page = page_of(run)
    text = text_of(page)
    assert "student.onnx onnx 13.0 kB 1.0e-06 100.00% 95.10% 0.250 ms" in text
    assert "Keras student tf.function – – – 95.10% 0.500 ms" in text
    assert "1 image, in one thread (TensorFlow: 3), on Abacus, 2026" in text
    assert "student.tflite is slow" in text
    [sizes, times] = re.findall(r'aria-label="(accuracy against .*?)"', page)
    assert "size of the file: teacher, Keras 500 kB 99.0%" in sizes
    assert "latency at batch size 1: tf.function, Keras 0.5 ms 95.1%" in times
    assert "student.tflite 0.125 ms 95.1%" in times


@pytest.mark.usefixtures("without_curves")
def test_latencies_of_other_files_are_not_shown(write_run):
    run = write_run()
    add_export(run)
    others = {"onnx": {"sha256": "another", "latency_ms": 0.25}}
    add_verification(run, artefacts={**VERIFICATION["artefacts"], **others})
    page = page_of(run)
    assert "0.250 ms" not in page
    assert "against latency" not in page
    assert "against size" in page


@pytest.mark.usefixtures("without_curves")
def test_failed_verification_is_told(write_run):
    run = write_run()
    add_export(run)
    add_verification(run, ok=False, failures={"student.onnx": ["missing"]})
    assert "student.onnx has failed: missing" in text_of(page_of(run))


def test_every_named_loss_has_a_panel_and_a_description(write_run):
    page = page_of(write_run())
    panels = re.findall(r'role="img" aria-label="(.*?)"', page)
    starts = [panel.split(" over the epochs")[0] for panel in panels]
    assert starts == [
        "accuracy, test split",
        "task loss",
        "loss, test split",
        "diffkd_features/distill",
        "diffkd_features/denoise",
        "total loss",
        "learning rate",
        "diffkd_features/γ",
    ]
    assert "teacher 50.0% to 99.0%, student alone 50.0% to 93.0%" in panels[0]
    assert page.count("<svg") == len(panels)


@pytest.mark.usefixtures("without_curves")
def test_sections_without_data_are_left_out(write_run):
    page = page_of(write_run(baseline=None, teacher=None))
    for title in ("Features", "Artefacts", "Predictions", "disagree"):
        assert title not in page
    assert "diffkd-distill --baseline" in text_of(page)


@pytest.mark.usefixtures("without_curves")
def test_a_run_without_a_method_is_a_student_alone(write_run):
    run = write_run(student=curve(0.9), baseline=None, arguments=("--method=none",))
    text = text_of(page_of(run))
    assert "Trained alone on digits" in text
    assert "student alone – – 6 12 s 90.00%" in text
    assert "Warnings" not in text


def test_the_page_needs_nothing_else(write_run):
    run = write_run()
    add_export(run)
    page = page_of(run)
    assert "<script" not in page
    assert "@import" not in page
    for address in re.findall(r'(?:src|href)="([^"]*)"', page):
        assert address.startswith(("data:", "#")), address
    for address in re.findall(r"url\(([^)]*)\)", page):
        assert address.startswith("#"), address
    assert "#0000f" not in page  # Colors come from the style sheet.


@pytest.mark.usefixtures("without_curves")
def test_markup_in_flags_is_text(write_run):
    evil = "<script>alert('x')</script>"
    run = write_run(arguments=(f"--teacher={evil}", "--data_dir=a&b"))
    add_export(run)
    page = page_of(run)
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "a&amp;b" in page
    assert "runs/<b>" not in page


def test_markup_in_records_is_text(write_run):
    """Of losses and classes, in tables, in titles and inside the figures."""
    evil = "<img src=x onerror=alert(1)>"
    run = write_run(student=distilled(0.95, **{f"mine/{evil}": 0.5}))
    add_export(run)
    manifest = {**MANIFEST, "labels": [evil], "warnings": [evil]}
    write_manifest(run.export, manifest)
    page = page_of(run)
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert "onerror=alert" not in re.sub("&lt;img.*?&gt;", "", page)


@pytest.mark.usefixtures("without_curves")
def test_shares_are_weight_times_value(write_run):
    text = text_of(page_of(write_run(student=distilled(0.95, loss=1.0))))
    # 0.25 x 1, 0.5 x 1 and 0.125 x 2.
    assert "diffkd_features/distill 1 0.5 50.0%" in text
    assert "diffkd_features/denoise 2 0.125 25.0%" in text
    assert "task_loss 1 0.25 25.0%" in text
    shares = loss_shares({"loss": 4.0, "a": 1.0, "b": 1.0}, {"a": 1.0, "b": 2.0})
    assert [share.name for share in shares] == ["b", "a", "other (regularization)"]
    assert [share.share for share in shares] == [0.5, 0.25, 0.25]


@pytest.mark.usefixtures("without_curves")
def test_one_seed_says_little(write_run):
    assert "One seed says little" in warnings_of(write_run())


@pytest.mark.usefixtures("without_curves")
def test_a_worse_student_is_a_warning(write_run):
    found = warnings_of(write_run(baseline=curve(0.96)))
    assert "worse than the student alone, by 1.00 points" in found
    assert "worse" not in warnings_of(write_run())


@pytest.mark.usefixtures("without_curves")
@pytest.mark.parametrize("value", [0.0, 3e-9])
def test_a_loss_of_zero_is_a_warning(write_run, value):
    run = write_run(student=distilled(0.95, **{"diffkd_features/distill": value}))
    assert "The loss diffkd_features/distill is zero" in warnings_of(run)
    once = [0.1] + [0.0] * (EPOCHS - 1)
    run = write_run(student=distilled(0.95, **{"diffkd_features/distill": once}))
    assert "is zero" not in warnings_of(run)


@pytest.mark.usefixtures("without_curves")
def test_a_flat_gamma_is_a_warning(write_run):
    # What happens in the first epoch is not what counts.
    flat = [0.5] + list(np.linspace(0.99, 0.999, EPOCHS - 1))
    run = write_run(student=distilled(0.95, **{"diffkd_features/gamma": flat}))
    assert "Noise adaptation does nothing" in warnings_of(run)
    moving = [0.5] + list(np.linspace(0.98, 0.999, EPOCHS - 1))
    run = write_run(student=distilled(0.95, **{"diffkd_features/gamma": moving}))
    assert "adaptation" not in warnings_of(run)


@pytest.mark.usefixtures("without_curves")
def test_a_loss_that_still_falls_is_a_warning(write_run):
    steep = 0.9 ** np.arange(EPOCHS)
    found = warnings_of(write_run(student=distilled(0.95, loss=steep)))
    assert "loss of the distilled student still falls steeply" in found
    assert "by 10% in the last epoch" in found
    assert "steeply" not in warnings_of(write_run())


@pytest.mark.usefixtures("without_curves")
def test_statistics_over_seeds_are_those_of_scipy(write_run):
    pairs = [(0.96, 0.92), (0.955, 0.935), (0.97, 0.93)]
    run = write_run(seeds=pairs)
    first, second = np.array([(0.95, 0.93), *pairs]).T
    gains = 100 * (first - second)
    low, high = stats.t.interval(0.95, 3, gains.mean(), stats.sem(gains))
    p = stats.ttest_1samp(gains, 0.0).pvalue
    own = 100 * first
    half = stats.t.interval(0.95, 3, own.mean(), stats.sem(own))[1] - own.mean()

    text = text_of(page_of(run))
    assert f"Means over 4 seeds. The paired gain is {gains.mean():+.2f} points" in text
    assert f"95% interval {low:+.2f} to {high:+.2f}, p = {p:.3f}" in text
    assert f"{own.mean():.2f}% ± {half:.2f}" in text
    assert p < 0.05
    assert "significant" not in text
    assert "seed says little" not in text


@pytest.mark.usefixtures("without_curves")
def test_a_gain_that_may_be_noise_is_a_warning(write_run):
    found = warnings_of(write_run(seeds=[(0.96, 0.97), (0.93, 0.92)]))
    assert "not significant" in found
    assert "over 3 seeds" in found


def test_equal_gains_have_no_p():
    found = paired_gain([0.5, 0.75, 0.25], [0.25, 0.5, 0.0])
    assert (found.mean, found.half, found.p) == (0.25, 0.0, None)
    assert not found.significant


@pytest.mark.usefixtures("without_curves")
def test_seeds_that_do_not_compare_do_not_count(write_run):
    run = write_run(seeds=[(0.96, 0.92), (0.96, 0.92), (0.96, 0.92), (0.97, 0.93)])
    for seed, name, value in ((1, "seed", "0"), (2, "learning_rate", "9.0")):
        folder = run.root / "seeds" / str(seed)
        experiment.write_flags(
            folder, {**experiment.recorded(), "seed": str(seed), name: value}
        )
    path = run.root / "seeds" / "3" / "baseline" / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))

    text = text_of(page_of(run))
    assert "Means over 2 seeds" in text
    assert "seeds/1 does not count: seed 0 occurs twice" in text
    assert "seeds/2 does not count: it was trained with other settings" in text
    assert "seeds/3 does not count: its training is not finished" in text


def test_a_folder_that_is_no_run(parse, tmp_path):
    with pytest.raises(FileNotFoundError, match="run diffkd-distill"):
        write_report(RunDirectory(tmp_path))
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(write_run, monkeypatch):
    assert missing_packages() == []
    run = write_run()
    packages = {"no_such_package": "NoSuch", "jinja2": "Jinja2"}
    monkeypatch.setattr(write_module, "PACKAGES", packages)
    assert missing_packages() == ["NoSuch"]
    with pytest.raises(ImportError, match=r"NoSuch.*pip install.*plot"):
        write_report(run)
    line = export.add_report(run, run.export, data=None)
    assert line.startswith("No report.html: NoSuch missing. pip install")
    assert "\n" not in line
