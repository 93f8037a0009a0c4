"""The code on the pages in docs/."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import Distiller, LogitsKD, models
from keras_diffkd.features.specs import output_specs
from keras_diffkd.teacher_cache.records import RecordLayout

DOCS = Path(__file__).parents[1] / "docs"


def test_moving_from_keras_distillation(rng):
    names = run_blocks(
        "from_keras_distillation.md",
        teacher=small_cnn(8),
        student=small_cnn(8),
    )

    x, y = random_batch(rng)
    distiller = names["distiller"]
    distiller.compile("sgd", cross_entropy())
    logs = distiller.fit(x, y, verbose=0).history
    assert np.isfinite(logs["logits_distillation/distill"]).all()
    assert names["method"].loss_weights == {"distill": 0.5}


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_detection_and_segmentation(tmp_path, monkeypatch, capsys, data_dir):
    pytest.importorskip("keras_hub")
    page = (DOCS / "detection_and_segmentation.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(data_dir)
    names = run_blocks(
        "detection_and_segmentation.md",
        {
            "data.steps_per_epoch": "1",
            "scenes.steps_per_epoch": "1",
            # Its operations for each variable take a third of the tracing.
            "Adam(1e-3)": "SGD(1e-3)",
        },
    )

    assert "'mAP50'" in capsys.readouterr().out
    assert (tmp_path / "exported" / "saved_model").exists()
    for file in re.findall(r"\w+\.flags", page):
        assert (DOCS.parent / "recipes" / "experiments" / file).exists()
    paths = re.findall(r"^\| `(backbone/[^`]+)`", page, re.MULTILINE)
    models = names["detector"], names["segmenter"], names["teacher"]
    found = {path for path in paths for m in models if _is_tapped(m, path)}
    # The test of docs/taps.md has a SegFormer.
    assert set(paths) - found == {"backbone/feature_extractor"}


def test_shrinking(capsys):
    names = run_blocks("shrinking.md")
    page = (DOCS / "shrinking.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() in page
    assert names["student"].count_params() == names["report"].parameters[1]


def test_quantization(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    images = rng.normal(size=(8, 28, 28, 1)).astype("float32")
    names = run_blocks(
        "quantization.md",
        replace={"epochs=4": "epochs=1, verbose=0"},
        images=images,
        labels=np.arange(8),
    )
    predicted = names["distiller"].predict(images, verbose=0)
    outputs = keras.ops.convert_to_numpy(names["outputs"])
    np.testing.assert_allclose(outputs, predicted, atol=1e-5)


def _is_tapped(model, path):
    try:
        output_specs(model, model.input, [path])
    except ValueError:
        return False
    return True


@pytest.mark.long
@pytest.mark.backend("tensorflow")
def test_getting_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = {"epochs=20": "epochs=1", "epochs=100": "epochs=1"}
    names = run_blocks("getting_started.md", replace=short)

    assert set(names["distiller"].history.history) >= {"task_loss", "diffkd/distill"}
    assert (tmp_path / "exported" / "student.tflite").exists()
    assert (tmp_path / "student.keras").exists()


@pytest.mark.backend("tensorflow")
def test_your_data(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    for index in range(40):
        path = tmp_path / "images" / f"class {index % 10}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(path, rng.integers(0, 256, (8, 8, 3)), scale=False)
    student = models.build_model("digits_student", (8, 8, 3), 10)
    teacher = models.build_model("digits_teacher", (8, 8, 3), 10)
    names = run_blocks(
        "your_data.md",
        replace={"epochs=10": "epochs=1"},
        keras=keras,
        folder=str(tmp_path / "images"),
        height=8,
        width=8,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        Distiller=Distiller,
        LogitsKD=LogitsKD,
        teacher=teacher,
        student=student,
        big_teacher=models.build_model("digits_teacher", (16, 16, 3), 10),
        distiller=compiled(Distiller(teacher, student, [LogitsKD()])),
    )
    (task_loss,) = names["distiller"].history.history["task_loss"]
    assert task_loss == 0  # The last example has no labels.


@pytest.mark.backend("tensorflow")
def test_choosing_a_method(tmp_path, monkeypatch, rng):
    pytest.importorskip("keras_tuner")
    monkeypatch.chdir(tmp_path)
    names = run_blocks(
        "choosing_a_method.md",
        replace={
            '"max_trials": 20': '"max_trials": 1',
            '"executions_per_trial": 2': '"executions_per_trial": 1',
            "epochs=20": "epochs=2",
        },
        teacher=models.build_model("digits_teacher", (8, 8, 1), 10),
        train=random_batch(rng, 80),
        loss=cross_entropy(),
    )
    assert len(names["tuner"].oracle.trials) == 1
    assert len(names["distiller"].history.epoch) == 2


@pytest.mark.backend("tensorflow")
def test_teacher_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "teacher_cache.md").read_text(encoding="utf-8")
    names = run_blocks(
        "teacher_cache.md",
        replace={"views=8": 'views=2, train_split="train[:320]"'},
        teacher=models.build_model("digits_teacher", (8, 8, 1), 10),
        student=models.build_model("digits_student", (8, 8, 1), 10),
        loss=cross_entropy(),
    )
    assert len(names["cache"]) == 640
    for row, arguments in {
        "10 logits": (10,),
        "100 logits": (100,),
        "1,000 logits, `--cache_top_k=100`": (1000, "float16", 100),
        "1,000 logits, all": (1000,),
        "10 logits and the mean of that map": (10, "float16", None, {"x": (128,)}),
    }.items():
        size = RecordLayout(*arguments).dtype.itemsize
        assert f"| {row} | {size:,} |" in page


def compiled(distiller):
    distiller.compile("adam", cross_entropy())
    return distiller


def run_blocks(page, replace=None, **names):
    """Runs the Python of a page, with some texts replaced, and returns its names."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for old, new in (replace or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec("\n".join(blocks), names)  # noqa: S102  It is our own page.
    return names
