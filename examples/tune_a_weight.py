"""Searches with KerasTuner for a method, its weight and the learning rate.

    pip install ".[tune]"
    python examples/tune_a_weight.py --output_dir=runs/tuning

Settings are judged on a fifth of the training images. The test images are used at the
end alone: for the best setting, for the default setting, whose weight is "balanced",
and for the student without a teacher. The default flags, which take about a minute on
one core, show how to search. For a result, try more settings, train longer and repeat:

    python examples/tune_a_weight.py --trials=30 --executions_per_trial=3 --epochs=40 \
        --seeds=10
"""

from pathlib import Path

import keras
import keras_tuner
import numpy as np
from absl import app, flags, logging

from keras_diffkd import DiffKD, Distiller, LogitsKD, datasets, models

DATASET = flags.DEFINE_string("dataset", "digits", "Data set of TFDS, or a folder.")
DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the data sets.")
PER_CLASS = flags.DEFINE_integer("examples_per_class", None, "Unset: all.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Images in a training step.")
TEACHER = flags.DEFINE_string("teacher", "digits_teacher", "Model or .keras file.")
STUDENT = flags.DEFINE_string("student", "digits_student", "Model or .keras file.")
TEACHER_TAP = flags.DEFINE_string("teacher_tap", "features", "Layer; see docs/taps.md.")
STUDENT_TAP = flags.DEFINE_string("student_tap", "features", "Layer; see docs/taps.md.")
TEACHER_EPOCHS = flags.DEFINE_integer("teacher_epochs", 10, "Unless it is a file.")
EPOCHS = flags.DEFINE_integer("epochs", 15, "Epochs of each student.")
TRIALS = flags.DEFINE_integer("trials", 6, "Settings to try.")
EXECUTIONS = flags.DEFINE_integer("executions_per_trial", 1, "Trainings per setting.")
SEEDS = flags.DEFINE_integer("seeds", 1, "Trainings per line of the final table.")
OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/tuning", "Folder of all results.")

WEIGHTS = ["balanced", "0.3", "1", "3", "10", "30"]
LEARNING_RATES = [0.1, 0.03, 0.3]


class DistillerSearch(keras_tuner.HyperModel):
    """Builds the distiller of a setting. The first value of a choice is the default."""

    def __init__(self, teacher, data):
        super().__init__()
        self.teacher, self.data = teacher, data

    def build(self, hp):
        kind = hp.Choice("method", ["kd", "diffkd"])
        weight = hp.Choice("weight", WEIGHTS)
        learning_rate = hp.Choice("learning_rate", LEARNING_RATES)
        if weight != "balanced":
            weight = float(weight)
        if kind == "kd":
            method = LogitsKD(weight=weight)
        else:
            taps = TEACHER_TAP.value, STUDENT_TAP.value
            method = DiffKD(*taps, latent_channels=32, distill_weight=weight)
        distiller = Distiller(self.teacher, build(STUDENT.value, self.data), [method])
        compile_for_labels(distiller, self.data, learning_rate, EPOCHS.value)
        return distiller


def main(_):
    """Trains a teacher, searches, compares on the test images."""
    logging.set_verbosity(logging.ERROR)  # TFDS tells every file that it reads.
    output_dir = Path(OUTPUT_DIR.value)
    output_dir.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)

    # 1. A teacher that has seen all training images.
    data = load("train", "test")
    teacher = build(TEACHER.value, data)
    # A wrong student or layer shows here, before anything is trained.
    method = DiffKD(TEACHER_TAP.value, STUDENT_TAP.value)
    Distiller(teacher, build(STUDENT.value, data), [method])
    if not TEACHER.value.endswith(".keras"):
        compile_for_labels(teacher, data, LEARNING_RATES[0], TEACHER_EPOCHS.value)
        fit(teacher, data, TEACHER_EPOCHS.value)
        teacher.save(output_dir / "teacher.keras")

    # 2. The search trains on four fifths and judges on the last one. KerasTuner builds
    #    a new distiller for each trial; all have the same teacher.
    part = load("train[:80%]", "train[80%:]", PER_CLASS.value)
    tuner = keras_tuner.RandomSearch(
        DistillerSearch(teacher, part),
        objective="val_accuracy",
        max_trials=TRIALS.value,
        executions_per_trial=EXECUTIONS.value,
        seed=0,
        directory=output_dir,
        project_name="trials",
        overwrite=True,  # False continues a search that was interrupted.
    )
    print(f"Trying {TRIALS.value} settings, judged by {part.num_test_examples} images.")
    tuner.search(
        part.train,
        validation_data=part.test,
        epochs=EPOCHS.value,
        steps_per_epoch=part.steps_per_epoch,
        shuffle=False,
        verbose=0,
    )
    for trial in tuner.oracle.get_best_trials(TRIALS.value):
        print(f"{describe(trial.hyperparameters):48}{trial.score:9.1%} validation")

    # 3. The best setting again, with all training images, beside what needs no search.
    data = load("train", "test", PER_CLASS.value)
    search = DistillerSearch(teacher, data)
    default = keras_tuner.HyperParameters()
    search.build(default)  # Registers the choices and their defaults.
    [best] = tuner.get_best_hyperparameters()
    print(f"\nOn {data.num_test_examples} test images, {SEEDS.value} seed(s):")
    report("student alone", data, lambda: student_alone(data))
    report(f"default: {describe(default)}", data, lambda: search.build(default))
    student = report(f"best: {describe(best)}", data, lambda: search.build(best))
    student.save(output_dir / "student.keras")
    print(f"Done: {output_dir}/student.keras")


def load(train_split, test_split, examples_per_class=None):
    """Loads the parts of the data set to train with and to judge by."""
    return datasets.load_classification(
        DATASET.value,
        data_dir=DATA_DIR.value,
        batch_size=BATCH_SIZE.value,
        train_split=train_split,
        test_split=test_split,
        examples_per_class=examples_per_class,
    )


def build(spec, data):
    """Loads or builds a model whose outputs are logits."""
    shape = {"input_shape": data.image_shape, "num_classes": data.num_classes}
    return models.load_model(spec, **shape)


def compile_for_labels(model, data, learning_rate, epochs):
    """Compiles with SGD whose learning rate falls to 0 as a cosine."""
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate, epochs * data.steps_per_epoch
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"])


def fit(model, data, epochs):
    """Trains a model or a distiller; the data set shuffles itself."""
    steps = {"epochs": epochs, "steps_per_epoch": data.steps_per_epoch}
    return model.fit(data.train, **steps, shuffle=False, verbose=0).history


def student_alone(data):
    """The student without a teacher, with the default learning rate."""
    student = build(STUDENT.value, data)
    compile_for_labels(student, data, LEARNING_RATES[0], EPOCHS.value)
    return student


def describe(hp):
    """A setting in words."""
    method, weight, learning_rate = (
        hp.get(name) for name in ("method", "weight", "learning_rate")
    )
    return f"{method}, weight {weight}, learning rate {learning_rate:.2g}"


def report(title, data, make):
    """Trains with several seeds, prints the mean accuracy, returns the last student."""
    accuracies = []
    for seed in range(SEEDS.value):
        keras.utils.set_random_seed(seed)
        model = make()
        logs = fit(model, data, EPOCHS.value)
        results = model.evaluate(data.test, verbose=0, return_dict=True)
        accuracies.append(results["accuracy"])
    settled = [f"{logs[k][-1]:.2g}" for k in logs if k.endswith("distill_weight")]
    remark = f" (balanced: {', '.join(settled)})" if settled else ""
    print(f"{title:48}{np.mean(accuracies):9.1%}{remark}")
    return model.strip() if isinstance(model, Distiller) else model


if __name__ == "__main__":
    app.run(main)
