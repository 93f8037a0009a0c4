"""--quantization_aware: a finished student trains on as int8 files compute it."""

import keras
import numpy as np
import pytest
from helpers.digit_networks import read_weights

from keras_diffkd.quantization import QuantizationRanges, SimulatedStudent
from keras_diffkd.recipes import evaluate, training
from keras_diffkd.recipes.data import load_data
from keras_diffkd.recipes.networks import student_to_ship
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.recipes.run.experiment import read_flags
from keras_diffkd.recipes.run.metrics_log import read_metrics

AWARE = "--quantization_aware=int8", "--quantization_epochs=2", "--save_every=1"


def int8_accuracy(folder):
    """Of the simulated student, on the whole test split."""
    student = keras.models.load_model(folder / "student.keras")
    ranges = QuantizationRanges.load(folder / "quantization_ranges.json")
    simulated = SimulatedStudent(student, ranges)
    right = [
        keras.ops.convert_to_numpy(simulated(x)).argmax(-1) == np.asarray(y)
        for x, y in load_data().test
    ]
    return np.mean(np.concatenate(right))


def test_a_finished_student_trains_on_and_is_kept(distil, capsys):
    run = distil("--save_every=1")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    distil(*AWARE)
    folder = run / "int8"
    for path, content in before.items():
        assert path.read_bytes() == content, path
    assert (folder / "float.keras").read_bytes() == before[run / "student.keras"]
    trained = read_weights(folder / "student.keras")
    assert any(
        np.abs(ours - theirs).max() > 0
        for ours, theirs in zip(
            trained, read_weights(run / "student.keras"), strict=True
        )
    )
    recorded = read_flags(folder)
    assert recorded["epochs"] == "2"
    assert float(recorded["learning_rate"]) == pytest.approx(0.005)
    assert recorded["lr_schedule"] == "cosine"
    lines = read_metrics(folder / "metrics.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2]
    assert "kd/distill" in lines[0]
    assert lines[-1]["val_accuracy"] == pytest.approx(int8_accuracy(folder), abs=1e-3)
    assert student_to_ship(RunDirectory(run), recorded) == folder / "student.keras"

    data = load_data()
    networks = evaluate.load_networks(RunDirectory(run), data)
    found = evaluate.measure(networks, data)["int8 student"]["top-1 accuracy"]
    assert found == pytest.approx(int8_accuracy(folder))

    capsys.readouterr()
    distil(*AWARE)
    assert f"{folder / 'student.keras'} is finished; nothing to do" in (
        capsys.readouterr().out
    )
    # More epochs of the float student leave a training of another start.
    distil("--epochs=2", "--save_every=1")
    with pytest.raises(ValueError, match="int8 was trained from another student"):
        distil("--epochs=2", *AWARE)


def test_without_a_student_it_is_trained_first_and_all_of_it_resumes(
    distil, monkeypatch
):
    whole = distil("--method=none", *AWARE, run="whole")
    assert read_flags(whole)["epochs"] == "1"

    class Interrupt(keras.callbacks.Callback):
        async_safe = True
        batches = 3

        def on_train_batch_begin(self, batch, logs=None):
            Interrupt.batches -= 1
            if Interrupt.batches < 0 and self.model.quantization is not None:
                raise KeyboardInterrupt

    callbacks = training._callbacks
    with monkeypatch.context() as patch:
        patch.setattr(
            training, "_callbacks", lambda *args: [*callbacks(*args), Interrupt()]
        )
        with pytest.raises(KeyboardInterrupt):
            distil("--method=none", *AWARE)
    run = distil("--method=none", *AWARE)
    for name in ("student.keras", "int8/student.keras"):
        for ours, theirs in zip(
            read_weights(run / name), read_weights(whole / name), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    ours, theirs = (
        QuantizationRanges.load(folder / "int8" / "quantization_ranges.json")
        for folder in (run, whole)
    )
    for name, pair in theirs.minimums_maximums.items():
        np.testing.assert_allclose(ours.minimums_maximums[name], pair, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quantization_epochs=2"], "about --quantization_aware=int8. Received"),
        ([*AWARE, "--quantization_learning_rate=0"], "must be a positive number"),
        ([*AWARE, "--quantization_learning_rate=nan"], "must be a finite number"),
        ([*AWARE, "--precision=mixed_float16"], "Received: --precision=mixed_float16"),
        (
            [*AWARE, "--method=kdiffusion", "--student_convolution=conv"],
            "cannot continue with --method=kdiffusion",
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused(distil, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        distil(*arguments)
    assert not (tmp_path / "run").exists()
