"""Trains many settings on one and on two replicas, and writes what they end with.

Run it from the root of the repository: `python benchmarks/replica_settings.py`. It
writes the tables of docs/scaling.md, or fails where a setting that should agree does
not. `--only=a --only=b` prints the settings whose names contain one of these, as JSON.
"""

import argparse
import contextlib
import json
import warnings
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from replica_setting_cases import BATCH_SIZE, SECTIONS

from keras_diffkd import Distiller

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
START, END = "<!-- tables: python benchmarks/replica_settings.py -->", "<!-- end -->"
EPOCHS = 2


def two_devices():
    """Returns a strategy over two logical CPUs, before TensorFlow is used.

    One for all: the collective operations of two strategies get in each other's way.
    """
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
    # Looking through graphs takes longer than the few steps that they run.
    tf.config.optimizer.set_experimental_options({"min_graph_nodes": 1_000_000})
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def train(setting, make_model, scope):
    """Returns `(how far the weights moved, logs)`, each a dict of arrays."""
    x, y = setting.data(np.random.default_rng(0))
    keras.config.set_dtype_policy(setting.policy)
    with scope:
        keras.utils.set_random_seed(0)
        model = make_model(setting)
    before = [np.array(v) for v in model.trainable_variables]
    arguments = {"batch_size": BATCH_SIZE} | setting.fitted
    if setting.validated:
        arguments["validation_data"] = (x, y)
        arguments["validation_batch_size"] = arguments["batch_size"]
    history = model.fit(
        x, y, **arguments, epochs=EPOCHS, shuffle=False, verbose=0
    ).history
    keras.config.set_dtype_policy("float32")
    after = [np.array(v) for v in model.trainable_variables]
    moved = {i: a - b for i, (a, b) in enumerate(zip(after, before, strict=True))}
    return moved, {name: np.array(values) for name, values in history.items()}


def compile_arguments(setting):
    """Returns the arguments of `compile`, except the optimizer."""
    loss = setting.loss and setting.loss()
    return {"loss": loss, "metrics": setting.metrics(), **setting.compiled}


def distiller(setting):
    """Returns a compiled `Distiller` of a setting."""
    student = setting.student(4)
    if setting.loss is None:
        student.compile(setting.optimizer())
    model = Distiller(setting.student(8), student, setting.methods())
    arguments = compile_arguments(setting)
    model.compile(setting.optimizer(), **arguments, preflight=False)
    return model


def student_alone(setting):
    """Returns the compiled student of a setting, for Keras to train."""
    model = setting.student(4)
    model.compile(setting.optimizer(), **compile_arguments(setting))
    return model


def difference(one, two):
    """Returns the largest difference of two dicts, in parts of the largest value.

    Every array is measured by itself, and compared with at least a thousandth of the
    largest of all.
    """
    assert one.keys() == two.keys(), (sorted(one), sorted(two))
    sizes = {name: np.abs(value).max(initial=0.0) for name, value in one.items()}
    least = max(sizes.values()) / 1000
    return float(
        max(
            np.abs(two[name] - value).max(initial=0.0) / max(sizes[name], least)
            for name, value in one.items()
        )
    )


def compare(setting, make_model, strategy):
    """Returns `{"weights": ..., "logs": ...}` or `{"error": ...}` for two replicas."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = train(setting, make_model, contextlib.nullcontext())
        try:
            two = train(setting, make_model, strategy.scope())
        except Exception as error:  # noqa: BLE001  Whatever it is goes into the table.
            keras.config.set_dtype_policy("float32")
            return {"error": f"{type(error).__name__}: {first_sentence(error)}"}
    weights, logs = (difference(*pair) for pair in zip(one, two, strict=True))
    return {"weights": weights, "logs": logs}


def first_sentence(error):
    """Returns how the message of an exception begins."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[0].split()).split(". ")[0][:90] if lines else ""


def problem(setting, found):
    """Returns the finding that contradicts the setting's verdict, or `None`."""
    if setting.refused or setting.fails:
        fits = (setting.refused or setting.fails) in found.get("error", "")
        return None if fits else f"does not fail as said: {found}"
    if "error" in found:
        return found["error"]
    largest = max(found.values())
    # NaN is not the same.
    if setting.differs:
        fits = found["weights"] > setting.tolerance
        return None if fits else f"does not differ: {found}"
    return None if largest <= setting.tolerance else f"differs: {found}"


def verdict(setting):
    """Returns in words how two replicas end."""
    if setting.refused:
        return "refused by name"
    if setting.fails:
        return "TensorFlow's error on logical CPUs, as in Keras"
    return f"differs: {setting.differs}" if setting.differs else "same"


def cells(found):
    """Returns the cells of ours: the differences of weights and logs."""
    if "error" in found:
        return ["", ""]
    return [number(found["weights"]), number(found["logs"])]


def number(value):
    """Returns a difference as text."""
    if np.isnan(value):
        return "NaN"
    return "< 1e-6" if value < 1e-6 else f"{value:.0e}"


def of_keras(found):
    """Returns the cell of plain Keras: the difference of weights, or its error."""
    if "error" in found:
        return f"`{found['error'].split(':')[0]}`"
    return number(found["weights"])


def table(title, settings, ours, stock):
    """Returns a table as Markdown."""
    head = ["setting", "weights", "logs", "verdict", "student alone in Keras"]
    rows = [head, ["---"] * len(head)]
    for setting in settings:
        name = setting.name
        row = [name, *cells(ours[name]), verdict(setting), of_keras(stock[name])]
        rows.append(row)
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"**{title}**\n\n{lines}"


def chosen(only):
    """Yields the settings whose names contain one of the given parts, or all."""
    for settings in SECTIONS.values():
        for setting in settings:
            if only is None or any(part in setting.name for part in only):
                yield setting


def main():
    """Compares all settings, and writes the tables into the page between the marks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append")
    only = parser.parse_args().only
    strategy = two_devices()
    ours, stock, problems = {}, {}, {}
    for setting in chosen(only):
        ours[setting.name] = compare(setting, distiller, strategy)
        problems[setting.name] = problem(setting, ours[setting.name])
        if not only:
            stock[setting.name] = compare(setting, student_alone, strategy)
            print(setting.name, ours[setting.name], stock[setting.name], flush=True)
    if only:
        print(json.dumps({"found": ours, "problems": problems}))
        return
    wrong = [f"{name} {said}" for name, said in problems.items() if said]
    if wrong:
        raise SystemExit("\n".join(wrong))
    write_page(ours, stock)
    print(f"{len(ours)} settings")


def write_page(ours, stock):
    """Puts the tables between the marks of the page."""
    made = "\n\n".join(
        table(title, settings, ours, stock) for title, settings in SECTIONS.items()
    )
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(f"{before}{START}\n\n{made}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
