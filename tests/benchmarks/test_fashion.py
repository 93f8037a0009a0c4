"""The benchmark of Fashion-MNIST, tiny."""

import functools
import json
import re
from types import SimpleNamespace

import fashion_runs
import finished_runs
import keras
import numpy as np
import pytest
from digits_methods import BALANCED
from fashion_data import FashionData, train_new_teacher
from fashion_methods import (
    BRANCHES,
    DIFFKD,
    METHODS,
    PRETRAINED,
    VARIANTS,
)
from fashion_runs import (
    TUNED,
    TUNED_RATES,
    TUNING_SEEDS,
    Cell,
    Regime,
    Task,
    ablation_tasks,
    cell_file,
    report_tasks,
    task_of,
    train_cell,
    tuned,
    tuning_tasks,
)
from fashion_tables import CellResults, cell_tables, figure_panel, section
from gains_figure import draw_gains
from helpers.idx_files import write_idx_folder
from scipy import stats

from keras_diffkd import DiffKD
from keras_diffkd.features.taps import call_with_taps
from keras_diffkd.models import build_model

CELL = Cell("few", "20k", "sgd")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """120 images, of which 10 are held out, and a teacher that has seen 110."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("fashion")
    images = [rng.integers(0, 256, (count, 28, 28)) for count in (120, 40)]
    write_idx_folder(folder, *images)
    train_new_teacher(folder, folder, epochs=1)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return FashionData(folder, folder / "teacher.weights.h5", folder / "cache")


def test_stored_teacher_gives_what_the_teacher_gives(folder, data):
    teacher = build_model("fashion_teacher", (28, 28, 1), 10)
    teacher.load_weights(folder / "teacher.weights.h5")
    names = ["stage2", "features", "logits"]
    taps = keras.Model(teacher.input, [teacher.get_layer(n).output for n in names])
    expected = taps.predict(data.images, verbose=0)
    stored = data.teacher.model(["stage2", "features"])
    inputs = {
        f"stored_{name}": data.teacher.outputs[name].astype("float32")
        for name in names[:2]
    }
    _, found = call_with_taps(stored, inputs, [*names[:2], None], training=False)
    for ours, theirs in zip(found.values(), expected, strict=True):
        ours = keras.ops.convert_to_numpy(ours)
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3)
    about = json.loads((folder / "teacher.json").read_text())
    assert about["examples"] == 110


def test_students_of_the_tuning_do_not_see_what_judges_them(data):
    judged = {image.tobytes() for image in data.judged_on("tune")[0]}
    assert len(judged) == 10
    for stage, seen in (("tune", False), ("report", True)):
        batches = data.batches(stage, Regime("", None, 1), 0, 55, ["features"])
        images = [next(batches)[0]["image"] for _ in range(4)]
        found = {image.tobytes() for batch in images for image in batch}
        assert bool(found & judged) is seen
    np.testing.assert_array_equal(data.judged_on("report")[1], np.arange(40) % 10)


def test_labels_of_unlabeled_images_stay_hidden(data):
    regime = Regime("", 4, 1, unlabeled=True)
    where = {image.tobytes(): place for place, image in enumerate(data.images)}
    logits = data.teacher.model(()).predict(data.teacher.outputs["features"], verbose=0)
    decisions = np.argmax(logits, axis=-1)
    labeled, unlabeled = set(), set()
    batches = data.batches("report", regime, 3, 16, ["features"])
    for inputs, labels, weights in (next(batches) for _ in range(20)):
        places = [where[image.tobytes()] for image in inputs["image"]]
        np.testing.assert_array_equal(weights, [1.0] * 4 + [0.0] * 12)
        np.testing.assert_array_equal(labels[:4], data.labels[places[:4]])
        np.testing.assert_array_equal(labels[4:], decisions[places[4:]])
        np.testing.assert_array_equal(
            inputs["stored_features"],
            np.float32(data.teacher.outputs["features"][places]),
        )
        labeled.update(places[:4])
        unlabeled.update(places[4:])
    assert len(labeled) == 40
    assert len(unlabeled) == 80
    assert not labeled & unlabeled


def records_of(tasks, accuracy):
    return {task: {"accuracy": accuracy(task), "balanced": {}} for task in tasks}


def test_equal_budgets_and_the_best_mean_wins():
    methods = ["student alone", "KD"]
    tasks = tuning_tasks(CELL, methods)
    count = {m: sum(task.method == m for task in tasks) for m in methods}
    assert count["KD"] == count["student alone"] == 5 * len(TUNING_SEEDS)
    assert all(task.seed >= 1000 for task in tasks)
    # The highest single value is not the highest mean.
    accuracies = {(3.0, 1000): 0.8, (3.0, 1001): 0.8, (10.0, 1000): 0.9}
    records = records_of(tasks, lambda t: accuracies.get((t.weight, t.seed), 0.1))
    assert tuned(records, CELL, "KD") == (3.0, 0.05)
    assert tuned(records, CELL, "student alone") == (0.0, TUNED_RATES["sgd"][0])
    del records[tasks[-1]]
    assert tuned(records, CELL, "KD") is None


def all_records(seeds):
    """Every method with its own gain, and the weight 10 as the best one."""
    rng = np.random.default_rng(1)
    noise = {seed: rng.normal(0, 0.003) for seed in range(2000)}

    def accuracy(task):
        place = list(METHODS).index(task.method) if task.method in METHODS else 7
        bonus = 0.01 * (task.weight == 10.0) + 0.002 * (task.weight == BALANCED)
        own = np.random.default_rng([task.seed, place]).normal(0, 0.001)
        return 0.8 + 0.005 * place + bonus + noise[task.seed] + own

    records = records_of(tuning_tasks(CELL, METHODS), accuracy)
    choices = [TUNED, BALANCED, 1.0]
    tasks = report_tasks(records, CELL, METHODS, choices, seeds)
    records |= records_of(tasks, accuracy)
    records |= records_of(ablation_tasks(records, CELL, METHODS, seeds), accuracy)
    for task, record in records.items():
        if task.weight == BALANCED:
            record["balanced"] = {"a": 4.0 + task.seed, "b": 0.5}
    return records


def row_of(table, name):
    """Returns the cells of the first row with this name."""
    rows = ([c.strip() for c in line.split("|")[1:-1]] for line in table.splitlines())
    return next(cells for cells in rows if cells and cells[0] == name)


def test_seed_by_seed_over_all_methods():
    tasks = report_tasks({}, CELL, ["student alone", "KD"], [1.0, BALANCED], 2)
    assert [(task.seed, task.method, task.weight) for task in tasks] == [
        (seed, *rest)
        for seed in range(2)
        for rest in (
            ("student alone", 0.0),
            ("KD", 1.0),
            ("student alone", 0.0),
            ("KD", BALANCED),
        )
    ]


def test_tables_agree_with_arithmetic():
    records = all_records(4)
    results = CellResults(records, CELL, 4)
    text = cell_tables(results)

    def values(method, weight):
        rate = 0.05
        if method == "student alone":
            weight, rate = 0.0, TUNED_RATES["sgd"][0] if weight is None else rate
        return np.array(
            [
                records[Task("report", *CELL, method, weight, rate, seed)]["accuracy"]
                for seed in range(4)
            ]
        )

    tuned_table, balanced_table, _ = re.split("(?:Balanced weights|Weight 1):", text)
    found = row_of(tuned_table, "FitNet")
    fitnet = 100 * values("FitNet", 10.0)
    gain = fitnet - 100 * values("student alone", None)
    half = stats.t.ppf(0.975, 3) * np.std(gain, ddof=1) / 2
    assert found[1:4] == [
        "10",
        f"{fitnet.mean():.2f} ± {fitnet.std(ddof=1):.2f}",
        f"{gain.mean():+.2f} ({gain.mean() - half:+.2f} to {gain.mean() + half:+.2f})",
    ]
    gain = fitnet - 100 * values("KD", 10.0)
    assert found[5].startswith(f"{gain.mean():+.2f} (")
    assert row_of(tuned_table, "KD")[5] == ""
    # The mean of what the seeds settled on.
    assert row_of(balanced_table, "KD")[1] == "5.5, 0.5"
    rivals = text.split("balanced (first), and tuned rivals:")[1]
    gain = 100 * (values(DIFFKD, BALANCED) - values("FitNet", 10.0))
    assert row_of(rivals, "FitNet")[3].startswith(f"{gain.mean():+.2f} (")
    ablations = text.split("DiffKD (features) (first) and FitNet:")[1]
    found = row_of(ablations, "weight 30")
    gain = 100 * (values("DiffKD (features)", 30.0) - values("FitNet", 30.0))
    assert found[3].startswith(f"{gain.mean():+.2f} (")
    for name, (_, parent) in VARIANTS.items():
        assert name.removeprefix(f"{parent}, ") in ablations
    assert "Not finished" not in text


def test_rows_with_too_few_seeds_are_named_not_shown():
    records = all_records(3)
    missing = Task("report", *CELL, "DKD", 10.0, 0.05, 2)
    del records[missing]
    tuned_table, _ = cell_tables(CellResults(records, CELL, 2)).split("Balanced", 1)
    assert row_of(tuned_table, "DKD")[1:3] == ["10", "2"]
    assert row_of(tuned_table, "KD")[1:3] == ["10", "3"]
    text = cell_tables(CellResults(records, CELL, 3))
    tuned_table, others = text.split("Balanced weights:")
    assert "| DKD " not in tuned_table
    assert "| DKD " in others
    assert "Not finished: DKD, tuned (2 seeds)." in text
    assert cell_tables(CellResults({}, CELL, 3)) == ""


def test_figure_shows_gains_of_all_methods(tmp_path):
    pytest.importorskip("matplotlib")
    records = all_records(3)
    panel = figure_panel(CellResults(records, CELL, 3))
    assert set(panel) == set(METHODS) - {"student alone"}
    better = {
        task: {**record, "accuracy": record["accuracy"] + 0.01}
        for task, record in records.items()
        if task.method == "student alone" and task.learning_rate == 0.02
    }
    reported = records_of(
        [Task("report", *CELL, "student alone", 0.0, 0.02, seed) for seed in range(3)],
        lambda task: 0.82,
    )
    panel = figure_panel(CellResults(records | better | reported, CELL, 3))
    assert set(panel["student alone"]) == {"Tuned weights"}
    draw_gains({"first; second": panel, "other": panel}, tmp_path / "gains.svg")
    figure = (tmp_path / "gains.svg").read_text(encoding="utf-8")
    assert figure.count(f"<!-- {DIFFKD} -->") == 2
    assert set(panel[DIFFKD]) == {"Tuned weights", "Balanced weights", "Weight 1"}


def test_variants_with_the_same_gamma_for_all_samples():
    methods, parent = VARIANTS[f"{DIFFKD}, γ = 0.9"]
    assert parent == DIFFKD
    x = keras.random.normal((2, 4, 4, 8), seed=0)
    features = methods(1.0)[0]
    features.build(x.shape, x.shape)
    assert float(features.compute_losses(x, x)["gamma"]) == pytest.approx(0.9)
    assert not hasattr(features.diffusion, "noise_adapter")


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("method", ["AFD", "DKD", "DSKD", "KDiffusion", BRANCHES])
def test_methods_read_what_is_stored(data, method):
    """Some tap two outputs, or run the teacher's classifier."""
    from fashion_training import make_distiller, taps_of

    distiller = make_distiller(Task("tune", *CELL, method, 1.0, 0.05, 0), data)
    taps = taps_of(distiller.methods)
    assert taps == (["stage2", "features"] if method == "AFD" else ["features"])
    regime = Regime("", None, 1)
    inputs, labels, _ = next(data.batches("tune", regime, 0, 4, taps))
    outputs, features = distiller.tapped_features(inputs, training=False)
    assert outputs.shape == (4, 10)
    teacher, student = features[0]
    losses = distiller.methods[0].compute_losses(teacher, student, labels)
    assert all(np.isfinite(float(loss)) for loss in losses.values())


@pytest.mark.backend("tensorflow")
def test_pretraining_moves_the_diffusion_model_alone(data):
    from fashion_training import make_distiller, train_steps
    from fashion_variants import diffusion_alone

    task = Task("tune", *CELL, PRETRAINED, 3.0, 0.05, 0)
    distiller = make_distiller(task, data)
    diffkd = distiller.methods[0]
    parts = {
        "student": distiller.student,
        "projection": diffkd.student_projection,
        "denoiser": diffkd.diffusion.denoiser,
        "autoencoder": diffkd.autoencoder,
    }
    before = {name: part.get_weights() for name, part in parts.items()}
    with diffusion_alone(distiller):
        train_steps(distiller, task, data, Regime("", None, 1), 10, "sgd", 1, 13)
    moved = {
        name
        for name, part in parts.items()
        if not all(map(np.array_equal, part.get_weights(), before[name]))
    }
    assert moved == {"denoiser", "autoencoder"}
    assert diffkd.distill_weight == 3.0
    assert distiller.task_loss_weight == 1.0


@pytest.mark.backend("tensorflow")
def test_a_denoiser_apart_learns_from_the_diffusion_loss_alone():
    import tensorflow as tf
    from fashion_variants import separate

    method, _ = separate(1.0)
    method.build((None, 2, 2, 8), (None, 2, 2, 3))
    teacher, student = np.float32(np.random.default_rng(0).normal(size=(2, 4, 2, 2, 8)))
    whole = DiffKD.from_config(method.get_config())
    whole.build((None, 2, 2, 8), (None, 2, 2, 3))
    whole.set_weights(method.get_weights())
    draws = {"init_noise": np.zeros((4, 2, 2, 32), "float32")}
    found = {}
    for each in (method, whole):
        with tf.GradientTape() as tape:
            losses = each.compute_losses(teacher, student[..., :3], **draws)
        weights = each.diffusion.denoiser.trainable_variables
        found[each] = (
            float(losses["distill"]),
            tape.gradient(
                losses["distill"], [each.student_projection.kernel.value, *weights]
            ),
        )
    np.testing.assert_allclose(found[method][0], found[whole][0], rtol=1e-5)
    np.testing.assert_allclose(found[method][1][0], found[whole][1][0], rtol=1e-3)
    assert not any(gradient is not None for gradient in found[method][1][1:])
    assert any(gradient is not None for gradient in found[whole][1][1:])


class ThisProcess:
    """Stands for a pool of processes, which would each import TensorFlow."""

    Pool = classmethod(lambda cls, *arguments, **options: cls())
    imap_unordered = staticmethod(map)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.mark.backend("tensorflow")
@pytest.mark.long
def test_tunes_and_reports_and_goes_on(folder, data, monkeypatch):
    from fashion_training import Files, train_student

    regime = Regime("quick", 4, 1)
    monkeypatch.setattr(fashion_runs, "TUNED_WEIGHTS", (1.0, 10.0))
    monkeypatch.setattr(fashion_runs, "TUNED_RATES", {"sgd": (0.05, 0.1)})
    monkeypatch.setattr(fashion_runs, "TUNING_SEEDS", (1000,))
    monkeypatch.setitem(fashion_runs.REGIMES, "few", regime)
    files = Files(folder, folder / "teacher.weights.h5", folder / "cache")
    path = cell_file(folder, CELL)
    one = SimpleNamespace(get_context=lambda kind: ThisProcess)
    monkeypatch.setattr(finished_runs, "multiprocessing", one)
    trained = {}

    def job(task):
        """Trains one student of each method; the others are as good, or nearly."""
        if task.method not in trained:
            trained[task.method] = train_student(task, files, regime)
        record = trained[task.method]
        accuracy = record["accuracy"] + 0.01 * (task.seed % 1000)
        return {**record, **task._asdict(), "accuracy": accuracy}

    def run(stages):
        about = {"teacher": fingerprint, "epochs": 1}
        runs = finished_runs.FinishedRuns(path, functools.partial(task_of, **about))
        train = functools.partial(runs.run, job, workers=1)
        methods = ["student alone", "KD"]
        train_cell(train, runs.records, CELL, stages, methods, [TUNED], 2)
        return [json.loads(line) for line in path.read_text().splitlines()]

    fingerprint = data.teacher.fingerprint
    lines = run(["tune"])
    assert [line["method"] for line in lines] == ["student alone"] * 2 + ["KD"] * 2
    lines = run(["tune", "report"])
    reported = lines[4:]
    assert [(line["method"], line["seed"]) for line in reported] == [
        ("student alone", 0),
        ("KD", 0),
        ("student alone", 1),
        ("KD", 1),
    ]
    assert run(["tune", "report"]) == lines
    text, panels = section(folder, 2)
    means = [
        f"{50 * sum(line['accuracy'] for line in pair):.2f} ±"
        for pair in (reported[::2], reported[1::2])
    ]
    assert all(mean in text for mean in means)
    assert "trained on the first\n110 training images" in text
    assert [list(panel) for panel in panels.values()] == [["KD"]]
