"""A search over hyper-parameters trains many models in one process."""

import gc
import weakref

import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch, small_cnn

from keras_diffkd import DiffKD, Distiller, FitNet, LogitsKD, TrainingDivergedError
from keras_diffkd.callbacks import FeaturePictures, TrainingBackup

DIFFKD = {
    "teacher_tap": "features",
    "student_tap": "features",
    "latent_channels": 8,
    "num_inference_steps": 1,
}


def make_distiller(teacher, methods, **compile_arguments):
    distiller = Distiller(teacher, small_cnn(4), methods)
    distiller.compile("adam", cross_entropy(), **compile_arguments)
    return distiller


def train(distiller, rng, **arguments):
    x, y = random_batch(rng)
    distiller.fit(x, y, batch_size=16, verbose=0, **arguments)
    return distiller


def trained(teacher, rng, tmp_path):
    return train(make_distiller(teacher, [LogitsKD()]), rng)


def used_in_every_way(teacher, rng, tmp_path):
    """Returns the stripped student, too: it outlives its distiller."""
    distiller = make_distiller(teacher, [DiffKD(**DIFFKD), LogitsKD()])
    x, y = random_batch(rng)
    callbacks = [
        FeaturePictures(x[:2], tmp_path / "pictures"),
        TrainingBackup(tmp_path / "backup", save_freq=1),
    ]
    train(distiller, rng, callbacks=callbacks, validation_data=(x, y))
    distiller.evaluate(x, y, verbose=0)
    distiller.predict(x, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    return distiller, distiller.strip()


def interrupted(teacher, rng, tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    distiller = make_distiller(teacher, [LogitsKD()])
    backup = TrainingBackup(tmp_path / "backup", save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        train(distiller, rng, callbacks=[backup, Interrupt()])
    return distiller


def diverged(teacher, rng, tmp_path):
    distiller = make_distiller(teacher, [LogitsKD()], preflight=False)
    train(distiller, rng)
    distiller.student.layers[1].kernel.assign(np.full((3, 3, 1, 4), np.inf))
    with pytest.raises(TrainingDivergedError):
        train(distiller, rng)
    return distiller


def refused(teacher, rng, tmp_path):
    distiller = make_distiller(teacher, [LogitsKD()])
    x, _ = random_batch(rng)
    with pytest.raises(ValueError, match="[Ll]abels"):
        distiller.fit(x, np.full(len(x), 10), verbose=0)
    return distiller


def wrongly_labeled(teacher, rng, tmp_path):
    distiller = make_distiller(teacher, [LogitsKD()], preflight=False)
    x, _ = random_batch(rng)
    with pytest.raises(ValueError, match="Labels must lie in"):
        distiller.fit(x, np.full(len(x), 10), verbose=0)
    return distiller


def eager(teacher, rng, tmp_path):
    return train(make_distiller(teacher, [LogitsKD()], run_eagerly=True), rng)


def loaded(teacher, rng, tmp_path):
    distiller = make_distiller(teacher, [FitNet("features", "features")])
    distiller.save(tmp_path / "distiller.keras")
    distiller = keras.models.load_model(tmp_path / "distiller.keras")
    distiller.attach_teacher(teacher)
    return train(distiller, rng)


@pytest.mark.parametrize(
    ("make", "clear"),
    [
        (trained, True),
        (used_in_every_way, False),
        (interrupted, False),
        (diverged, False),
        (refused, False),
        (wrongly_labeled, False),
        (eager, False),
        (loaded, False),
    ],
)
def test_a_distiller_is_freed(make, clear, rng, tmp_path):
    teacher = small_cnn(8)
    made = make(teacher, rng, tmp_path)
    distiller, student = made if isinstance(made, tuple) else (made, None)
    del made
    references = {
        "distiller": weakref.ref(distiller),
        "optimizer": weakref.ref(distiller.optimizer),
        **{m.name: weakref.ref(m) for m in distiller.methods},
        "step": weakref.ref(distiller.record.gradients),
    }
    if student is None:
        references["student"] = weakref.ref(distiller.student)
    del distiller
    if clear:
        keras.utils.clear_session()
    gc.collect()
    assert [name for name, alive in references.items() if alive() is not None] == []
    assert len(teacher.layers) == 6  # It is kept, as a search keeps it.
