"""Distilling a detector that has a loss of its own, and a segmenter."""

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy
from helpers.small_tasks import (
    DETECTOR_LEVELS,
    DETECTOR_TAP,
    SEGMENTER_TAP,
    detection_batch,
    detectors,
    segmentation_batch,
    segmenters,
)

from keras_diffkd import AFD, DSKD, Distiller, FitNet, LogitsKD, VkD

# On JAX, one detector takes as long as all of this.
on_tensorflow = pytest.mark.backend("tensorflow")
PARTS = ["bbox_regression_loss", "cls_logits_loss"]


def detector_distiller(methods=None, own_loss=None, **arguments):
    keras.utils.set_random_seed(0)
    if methods is None:
        methods = [FitNet(DETECTOR_TAP, DETECTOR_TAP)]
    distiller = Distiller(*detectors(**(own_loss or {})), methods)
    distiller.compile(keras.optimizers.SGD(1e-3), **arguments)
    return distiller


def fit(distiller, data, **arguments):
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0, **arguments}
    return distiller.fit(*data, **arguments).history


@pytest.fixture(scope="module")
def batch():
    return detection_batch(np.random.default_rng(0))


@pytest.fixture(scope="module")
def trained(batch):
    """A distiller and its logs of an epoch, as most users run it."""
    keras.utils.clear_session(free_memory=False)
    distiller = detector_distiller()
    return distiller, fit(distiller, batch)


@pytest.fixture(scope="module")
def expected(trained):
    return trained[1]


@pytest.mark.backend("tensorflow", "jax")
def test_the_parts_of_the_students_own_loss_are_logged(batch):
    distiller = detector_distiller()
    logs = fit(distiller, batch, epochs=2, validation_data=batch)
    for prefix in ("", "val_"):
        parts = sum(np.array(logs[prefix + name]) for name in PARTS)
        whole = logs[prefix + ("task_loss" if prefix == "" else "loss")]
        np.testing.assert_allclose(parts, whole, rtol=1e-5)
    # Means of an epoch, not of all epochs.
    before = distiller.evaluate(*batch, batch_size=4, verbose=0, return_dict=True)
    again = distiller.evaluate(*batch, batch_size=4, verbose=0, return_dict=True)
    for name in PARTS:
        np.testing.assert_allclose(again[name], before[name], rtol=1e-6)
        np.testing.assert_allclose(logs[f"val_{name}"][-1], before[name], rtol=1e-5)


@on_tensorflow
@pytest.mark.parametrize("arguments", [{"steps_per_execution": 2}, {"run_eagerly": 1}])
def test_however_it_runs(batch, expected, arguments):
    logs = fit(detector_distiller(**arguments), batch)
    assert set(logs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)


@on_tensorflow
def test_single_batches(batch, trained):
    distiller, _ = trained
    first, second = (
        distiller.train_on_batch(*batch, return_dict=True) for _ in range(2)
    )
    assert second["loss"] != first["loss"]
    assert {"task_loss", "fitnet/distill", *PARTS} < set(second)
    logs = distiller.test_on_batch(*batch, return_dict=True)
    assert set(logs) == {"loss", *PARTS}


@on_tensorflow
def test_batches_without_objects(batch, trained):
    """KerasHub's loss is nothing then; the methods go on."""
    x, y = batch
    y = {name: np.full_like(values, -1) for name, values in y.items()}
    distiller, _ = trained
    logs = fit(distiller, (x, y))
    assert logs["task_loss"] == [0.0]
    assert logs["fitnet/distill"][0] > 0
    assert all(
        np.isfinite(keras.ops.convert_to_numpy(v)).all() for v in distiller.variables
    )


@on_tensorflow
def test_sample_weights_do_not_reach_a_detectors_loss(batch, expected):
    weights = np.linspace(0.0, 2.0, 8)
    assert fit(detector_distiller(), batch, sample_weight=weights) == expected


@on_tensorflow
def test_a_saved_distiller_goes_on(batch, tmp_path):
    distiller = detector_distiller(
        own_loss={"loss_weights": {"bbox_regression": 3.0, "cls_logits": 0.5}}
    )
    fit(distiller, batch)
    distiller.save(tmp_path / "run.keras")
    loaded = keras.models.load_model(tmp_path / "run.keras")
    loaded.attach_teacher(distiller.teacher)
    expected, logs = fit(distiller, batch), fit(loaded, batch)
    assert set(logs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-4, err_msg=name)


@on_tensorflow
def test_methods_on_the_levels_of_a_detector(batch):
    level = DETECTOR_LEVELS[0]
    methods = [
        DSKD(level, level, guidance_scale=0, num_inference_steps=1),
        # The pyramid, whose gradients are measured at all levels together.
        VkD(DETECTOR_TAP, DETECTOR_TAP, weight="balanced"),
        AFD(DETECTOR_LEVELS, DETECTOR_LEVELS, key_dim=4),
    ]
    logs = fit(detector_distiller(methods), batch)
    for method in methods:
        for name in method.loss_weights:
            assert np.isfinite(logs[f"{method.name}/{name}"]).all()
            assert logs[f"{method.name}/{name}"][0] > 0
    assert logs["vkd/distill_weight"][-1] not in (0.0, 1.0)


@on_tensorflow
@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_half_precision(task, rng):
    keras.config.set_dtype_policy("mixed_float16")
    if task == "detection":
        x, y = detection_batch(rng)
        distiller = detector_distiller()
    else:
        x, y = segmentation_batch(rng)
        methods = [FitNet(SEGMENTER_TAP, SEGMENTER_TAP), LogitsKD()]
        distiller = Distiller(*segmenters(), methods)
        distiller.compile(keras.optimizers.SGD(1e-3), cross_entropy())
    assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    outputs = keras.tree.flatten(distiller.student(x, training=False))
    assert {keras.backend.standardize_dtype(o.dtype) for o in outputs} == {"float32"}
    logs = fit(distiller, (x, y), epochs=2)
    assert all(np.isfinite(values).all() for values in logs.values())
    assert logs["loss"][1] < logs["loss"][0]
