"""Kills trainings at random moments and while they save; they must end the same.

Trains a tiny distillation of digits in float32 and float16, on one and two replicas:
once without interruption and without backups, then with backups, killed with SIGKILL
over and over and started again until it is through. Weights, optimizer, random seeds
and history must be those of the undisturbed training, bit for bit.

    python tests/resuming/kill_anywhere.py --kills=8 --seed=0
"""

import argparse
import collections
import contextlib
import functools
import hashlib
import itertools
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A child is forked from a process that has imported all this, and run nothing of it.
import keras
import tensorflow as tf

from keras_diffkd import DiffKD, Distiller, FitNet, datasets
from keras_diffkd import atomic_files as durable
from keras_diffkd.callbacks import TrainingBackup
from keras_diffkd.resuming import snapshots as module

COMBINATIONS = {
    f"{precision} x{replicas}": (precision, replicas)
    for precision in ("float32", "mixed_float16")
    for replicas in (1, 2)
}
EPOCHS, STEPS, BATCH_SIZE, SAVE_FREQ = 8, 9, 16, 2
# Where a save may be cut off.
STAGES = (
    "half of variables.npz",
    "half of state.json",
    "before the files are on the disk",
    "before the rename",
    "after the rename",
    "half of the old one removed",
)


def network(width, dropout=0.0):
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(width, 3, strides=2, padding="same")(image)
    x = keras.layers.BatchNormalization(momentum=0.7)(x)
    x = keras.layers.ReLU(name="features")(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10, dtype="float32")(x))


def make_distiller(precision):
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(precision)
    diffkd = DiffKD("features", "features", latent_channels=8, num_inference_steps=1)
    methods = [diffkd, FitNet("features", "features")]
    distiller = Distiller(network(12), network(6, dropout=0.2), methods)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    if precision == "mixed_float16":
        # Overflows in the first steps, which are skipped, and grows now and then.
        optimizer = keras.optimizers.LossScaleOptimizer(
            optimizer, initial_scale=2.0**30, dynamic_growth_steps=7
        )
    distiller.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return distiller


def train(folder, data_dir, precision, replicas, kill=None):
    """Trains what is left in `folder`.

    Args:
        folder: the run's, with its backups; `None` for the undisturbed training.
        data_dir: where the digits are.
        precision: dtype policy.
        replicas: 1 or 2.
        kill: callback that kills the process, or `None`.

    Returns:
        Dict of digests, of what happened, and the seconds after the first step.
    """
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
    )
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    # Looking through graphs takes longer than the few steps that they run.
    tf.config.optimizer.set_experimental_options({"min_graph_nodes": 1_000_000})
    scope = contextlib.nullcontext()
    if replicas > 1:
        devices = [f"CPU:{index}" for index in range(replicas)]
        scope = tf.distribute.MirroredStrategy(devices).scope()
    load = functools.partial(
        datasets.load_classification, "digits", data_dir=data_dir, batch_size=BATCH_SIZE
    )
    with scope:
        distiller = make_distiller(precision)
    stopping = keras.callbacks.EarlyStopping(
        "val_loss",
        patience=2,
        min_delta=0.01,
        start_from_epoch=2,
        restore_best_weights=True,
    )
    plateau = keras.callbacks.ReduceLROnPlateau("loss", 0.3, patience=1, min_delta=0.25)
    callbacks = [stopping, plateau]
    # One way of going on in the data, and the other.
    skip, start = precision == "float32", 0
    if folder is not None:
        backup = TrainingBackup(folder / "backups", save_freq=SAVE_FREQ, skip_data=skip)
        start = 0 if skip else backup.position().step
        callbacks.append(backup)
    clock = Clock()
    callbacks += [clock] if kill is None else [clock, kill]
    data = load(start_step=start)
    history = distiller.fit(
        data.train.take(STEPS) if skip else data.train,
        steps_per_epoch=None if skip else STEPS,
        epochs=EPOCHS,
        validation_data=data.test.take(4),
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    return {
        "weights": digest(distiller.variables),
        "optimizer": digest(distiller.optimizer.variables),
        "seeds": digest([v for v in distiller.variables if "seed" in v.path]),
        "history": [history.epoch, history.history],
        "stopped": stopping.stopped_epoch,
        "rate": float(distiller.optimizer.learning_rate.numpy()),
        "applied steps": int(distiller.optimizer.iterations.numpy()),
        "seconds": clock.seconds,
    }


def digest(variables):
    values = [keras.ops.convert_to_numpy(variable) for variable in variables]
    return hashlib.sha256(b"".join(v.tobytes() for v in values)).hexdigest()


class Clock(keras.callbacks.Callback):
    """Counts the seconds after the first step, which is traced."""

    started, seconds = None, 0.0

    def on_train_batch_end(self, batch, logs=None):
        self.started = self.started or time.monotonic()

    def on_train_end(self, logs=None):
        if self.started is not None:
            self.seconds = time.monotonic() - self.started

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


class KillSometime(keras.callbacks.Callback):
    """Kills the process some seconds after its first step."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.armed = True

    def on_train_batch_end(self, batch, logs=None):
        if self.armed:
            self.armed = False
            threading.Timer(self.seconds, kill).start()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_save(number, stage):
    """Makes the process die in a stage of its save of that number, from 1."""
    saves = []

    def due(here):
        return len(saves) == number and stage == here

    write = module.Snapshots.write
    write_bytes, write_text = pathlib.Path.write_bytes, pathlib.Path.write_text
    sync, replace, rmtree = durable.sync, os.replace, shutil.rmtree

    def counted(self, *arguments):
        saves.append(None)
        write(self, *arguments)

    def half(write, name):
        def write_half(path, content, *rest, **others):
            if path.name == name and due(f"half of {name}"):
                write(path, content[: len(content) // 2])
                kill()
            return write(path, content, *rest, **others)

        return write_half

    def killed_sync(path):
        if due("before the files are on the disk"):
            kill()
        sync(path)

    def killed_replace(source, target):
        if due("before the rename"):
            kill()
        replace(source, target)
        if due("after the rename"):
            kill()

    def killed_rmtree(path, *arguments, **others):
        if due("half of the old one removed"):
            next(pathlib.Path(path).iterdir()).unlink()
            kill()
        rmtree(path, *arguments, **others)

    module.Snapshots.write = counted
    pathlib.Path.write_bytes = half(write_bytes, "variables.npz")
    pathlib.Path.write_text = half(write_text, "state.json")
    durable.sync, os.replace = killed_sync, killed_replace
    shutil.rmtree = killed_rmtree


def in_child(work):
    """Runs a function in a fork; returns what JSON holds of it, or `None` if killed."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = pathlib.Path(folder, "result"), pathlib.Path(folder, "log")
        child = os.fork()
        if child == 0:
            status = 1
            descriptor = os.open(log, os.O_CREAT | os.O_WRONLY)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            try:
                result.write_text(json.dumps(work()))
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            return None
        if status:
            raise RuntimeError(log.read_text(errors="replace"))
        return json.loads(result.read_text())


def plan(rng, seconds):
    """Yields `(what, set up)`: a third inside a save, the others at any moment."""
    stages = rng.sample(STAGES, len(STAGES))
    for index in itertools.count():
        if index % 3 == 0:
            stage = stages[index // 3 % len(stages)]
            yield stage, functools.partial(kill_in_save, rng.randint(1, 6), stage)
        else:
            after = rng.uniform(0, seconds)
            yield "at any moment", functools.partial(KillSometime, after)


def attempt(folder, data_dir, combination, set_up):
    callback = set_up() if set_up else None
    return train(folder, data_dir, *COMBINATIONS[combination], callback)


def check(combination, kills, rng, data_dir):
    """Kills and restarts trainings of one combination; returns a row of the table.

    Raises:
        AssertionError: if one ends otherwise than the undisturbed training.
    """
    undisturbed = in_child(lambda: attempt(None, data_dir, combination, None))
    plans = plan(rng, undisturbed.pop("seconds"))
    killed, finished = collections.Counter(), 0
    while killed.total() < kills or not finished:
        with tempfile.TemporaryDirectory() as folder:
            folder, result = pathlib.Path(folder), None
            while result is None:
                what, set_up = next(plans) if killed.total() < kills else (None, None)
                work = functools.partial(attempt, folder, data_dir, combination, set_up)
                result = in_child(work)
                killed.update([what] if result is None else [])
            results = [result]
            if not finished:  # Once more, when there is nothing left to do.
                results.append(in_child(work))
        for ended in results:
            different = [k for k, value in undisturbed.items() if ended[k] != value]
            assert not different, (combination, different, ended, undisturbed)
        finished += 1
    return {"trainings": finished, "kills": killed, **undisturbed}


def prepare(data_dir):
    datasets.load_classification("digits", data_dir=data_dir, batch_size=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=8, help="for each combination")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--combinations", nargs="*", default=list(COMBINATIONS))
    arguments = parser.parse_args()
    seed = random.randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as data_dir:
        in_child(lambda: prepare(data_dir))
        for combination in arguments.combinations:
            rng = random.Random(f"{seed} {combination}")
            row = check(combination, arguments.kills, rng, data_dir)
            print(described(combination, row), flush=True)


def described(combination, row):
    kills = row["kills"]
    in_saves = ", ".join(
        f"{stage} ({kills[stage]})" for stage in STAGES if kills[stage]
    )
    return (
        f"{combination}: {kills.total()} kills in {row['trainings']} trainings, "
        f"{kills.total() - kills['at any moment']} of them in a save: {in_saves}. All "
        f"ended with the same bits, early after {row['stopped'] + 1} epochs, at the "
        f"learning rate {row['rate']:.3g}, with {row['applied steps']} steps applied"
    )


if __name__ == "__main__":
    sys.exit(main())
