"""Wrong inputs to training from Python: what is given, and to whom."""

import keras
import numpy as np
import tensorflow as tf
from wrong_input_caches import CACHES
from wrong_input_exports import EXPORTS
from wrong_input_folders import FOLDERS
from wrong_input_models import (
    Case,
    distiller,
    images_and_labels,
    network,
    sparse,
    stock_distiller,
    student,
    teacher,
)
from wrong_input_quantization import QUANTIZATION
from wrong_input_shrinking import SHRINKING

from keras_diffkd import DiffKD, FitNet, LogitsKD

X, Y = images_and_labels()
ONE_HOT = np.eye(10, dtype="float32")[Y]


def fit_case(given, says, x=X, y=Y, fit=None, stock_models=None, **models):
    """Returns a `Case` of data, arguments of `fit`, models or the compiled loss.

    Args:
        given: As in `Case`.
        says: As in `Case`.
        x: Inputs, or a callable that makes them anew.
        y: Targets.
        fit: Dict of further arguments of `fit`.
        stock_models: Arguments of `stock_distiller`, if not those of `distiller`.
        **models: Callables that make the arguments of `distiller`.
    """

    def arguments(chosen):
        return {name: make() for name, make in chosen.items()}

    def data():
        return (x() if callable(x) else x), y

    return Case(
        given,
        says,
        lambda: distiller(**arguments(models)).preflight(*data(), **(fit or {})),
        lambda: stock_distiller(
            **arguments(models if stock_models is None else stock_models)
        ).fit(*data(), epochs=2, verbose=0, **(fit or {})),
    )


def changed(array, index, value):
    """Returns a copy of an array with one other value."""
    array = array.copy()
    array[index] = value
    return array


def batches(x=X, y=Y, size=16):
    """Returns a function that makes a data set of batches."""
    return lambda: tf.data.Dataset.from_tensor_slices((x, y)).batch(size)


def generator(x, y):
    """Yields the samples in batches of 16, for ever."""
    while True:
        for start in range(0, len(x), 16):
            yield x[start : start + 16], y[start : start + 16]


def sharing(other):
    """Returns a student that is built on layers of a teacher."""
    features = other.get_layer("features").output
    logits = keras.layers.Dense(10)(keras.layers.GlobalMaxPooling2D()(features))
    return keras.Model(other.input, logits)


def with_nan_weights():
    """Returns a teacher whose weights are damaged."""
    model = teacher()
    kernel, bias = model.get_layer("conv").get_weights()
    model.get_layer("conv").set_weights([kernel * np.nan, bias])
    return model


def frozen_student():
    """Returns a student whose `trainable` was left at `False`."""
    model = student()
    model.trainable = False
    return model


def shared_models(make):
    """Hands a teacher and a student of the same layers to a distiller."""
    other = teacher()
    return make(of_teacher=other, of_student=sharing(other))


def same_model(make):
    """Hands one model to a distiller twice."""
    model = network(4)
    return make(of_teacher=model, of_student=model)


LABELS = [
    fit_case("labels 1 to 10 for 10 classes", "start at 1: subtract 1", y=Y + 1),
    fit_case("a label of -1", "0 to 9.*-1 to 9.*ignore_class", y=changed(Y, 3, -1)),
    fit_case(
        "one label of 10 among 64", "Labels must lie in 0 to 9", y=changed(Y, 9, 10)
    ),
    fit_case(
        "a label of 10 in the second batch of a data set",
        "Labels must lie in 0 to 9",
        x=batches(y=changed(Y, 20, 10)),
        y=None,
    ),
    Case(
        "a label of 10 in a generator",
        "Labels must lie in 0 to 9",
        lambda: distiller().fit(generator(X, changed(Y, 3, 10)), steps_per_epoch=4),
        lambda: stock_distiller().fit(
            generator(X, changed(Y, 3, 10)), steps_per_epoch=4, epochs=2, verbose=0
        ),
    ),
    fit_case("labels of 0.5, 1.5, ...", "integers .*fractions", y=Y + 0.5),
    fit_case("whole labels as float32", "labels .*are float32", y=Y.astype("float32")),
    fit_case("a label that is NaN", "finite.*1 values", y=changed(Y * 1.0, 5, np.nan)),
    fit_case("one-hot labels, sparse loss", "look one-hot", y=ONE_HOT),
    fit_case(
        "integer labels, categorical loss",
        "For integers use SparseCategoricalCrossentropy",
        loss=lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
    ),
    fit_case(
        "one-hot labels of 11 classes, student of 10",
        "the student has 10 classes",
        y=np.eye(11)[Y],
        loss=lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
    ),
    fit_case(
        "several labels for each image, categorical loss",
        "do not sum to 1",
        y=np.maximum(ONE_HOT, np.roll(ONE_HOT, 1, axis=1)),
        loss=lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
    ),
    fit_case(
        "labels 0 to 9, binary loss, one output",
        "lie in 0 to 1.*0 to 9",
        loss=lambda: keras.losses.BinaryCrossentropy(from_logits=True),
        of_student=lambda: student(classes=1),
        of_teacher=lambda: network(4, classes=1),
        methods=lambda: [FitNet("features", "features")],
        stock_models={
            "loss": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
            "of_student": lambda: student(classes=1),
            "of_teacher": lambda: network(4, classes=1),
        },
    ),
    fit_case(
        "sparse loss, student of one output",
        "one output for each class",
        of_student=lambda: student(classes=1),
        of_teacher=lambda: network(4, classes=1),
    ),
    fit_case(
        "names as labels",
        "must be numbers.*'digit",
        y=np.array([f"digit {label}" for label in Y]),
    ),
    fit_case("no labels", "has no targets", y=None),
    fit_case("63 labels for 64 images", "same length. Received: 64 and 63", y=Y[:-1]),
    fit_case(
        "a data set sorted by class, not shuffled",
        "labels are all 0.*Shuffle",
        x=batches(np.repeat(X[Y == 0], 9, 0), np.zeros(63, int)),
        y=None,
    ),
    fit_case(
        "sorted labels and validation_split",
        "classes that are missing in training",
        x=X[np.argsort(Y)],
        y=np.sort(Y),
        fit={"validation_split": 0.25},
    ),
    fit_case(
        "labels 1 to 10 in the validation data",
        "Labels must lie in 0 to 9",
        fit={"validation_data": (X, Y + 1)},
    ),
]

OUTPUTS = [
    fit_case(
        "a loss of probabilities on logits (`from_logits` forgotten)",
        "expects probabilities.*from_logits=True",
        loss=lambda: sparse(from_logits=False),
    ),
    fit_case(
        "a loss of logits on a student that ends in softmax",
        "applied twice",
        of_student=lambda: student(activation="softmax"),
        methods=lambda: [FitNet("features", "features")],
        stock_models={"of_student": lambda: student(activation="softmax")},
    ),
    fit_case(
        "a teacher that outputs probabilities",
        "teacher .*outputs probabilities",
        of_teacher=lambda: teacher(activation="softmax"),
    ),
    Case(
        "the same teacher, with keras.distillation's own loss",
        "teacher .*outputs probabilities",
        lambda: distiller(
            of_teacher=teacher(activation="softmax"),
            methods=[
                keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence())
            ],
        ),
        lambda: stock_distiller(of_teacher=teacher(activation="softmax")).fit(
            X, Y, epochs=2, verbose=0
        ),
    ),
    fit_case(
        "a teacher of 7 classes, a student of 10",
        "teacher 7, student 10",
        of_teacher=lambda: teacher(classes=7),
    ),
    fit_case(
        "a loss for an output that there is not",
        "name outputs of the student.*'boxes'",
        loss=lambda: {"boxes": "mse"},
    ),
]

MODELS = [
    Case(
        "a student made of the teacher's layers",
        "must not share trainable weights",
        lambda: shared_models(distiller),
        lambda: shared_models(stock_distiller).fit(X, Y, epochs=2, verbose=0),
    ),
    Case(
        "one model as teacher and student",
        "must not share weights.*as both",
        lambda: same_model(distiller),
        lambda: same_model(stock_distiller).fit(X, Y, epochs=2, verbose=0),
    ),
    fit_case(
        "a teacher whose weights are NaN",
        "teacher outputs values that are not finite",
        of_teacher=with_nan_weights,
    ),
    fit_case(
        "a teacher whose classes are in another order",
        "no better than chance.*class order is different",
        of_teacher=lambda: teacher(order=np.roll(np.arange(10), 3)),
    ),
    fit_case(
        "a teacher that knows images of 0 to 255, images of 0 to 1",
        "no better than chance",
        of_teacher=lambda: teacher(scale=255.0),
    ),
    fit_case(
        "a teacher that rescales pixels, a student that does not",
        "teacher rescales its images",
        x=255 * X,
        of_teacher=lambda: teacher(rescale=1 / 255),
    ),
    fit_case(
        "a student with nothing to train (`trainable = False`)",
        "no trainable weights",
        of_student=frozen_student,
    ),
    fit_case(
        "a teacher of 16x16 images, a student of 8x8",
        "must take the same inputs",
        of_teacher=lambda: teacher(size=16),
    ),
]

IMAGES = [
    fit_case(
        "pixels of 0 to 255, no rescaling", "Images reach 2.*Rescaling", x=255 * X
    ),
    fit_case(
        "images of 0 to 1 for a student that divides by 255",
        "student starts with Rescaling",
        of_student=lambda: student(rescale=1 / 255),
        of_teacher=lambda: teacher(rescale=1 / 255, scale=1 / 255),
    ),
    fit_case("a pixel that is NaN", "inputs .*must be finite", x=changed(X, 7, np.nan)),
    fit_case(
        "an infinite pixel in a data set",
        "inputs .*must be finite",
        x=batches(changed(X, 40, np.inf)),
        y=None,
    ),
    fit_case("no images", "training data is empty", x=X[:0], y=Y[:0]),
    fit_case(
        "a data set whose filter leaves nothing",
        "training data is empty",
        x=lambda: batches()().filter(lambda x, y: False),
        y=None,
    ),
    fit_case(
        "a data set that is not batched",
        "one sample without a batch axis",
        x=lambda: batches()().unbatch(),
        y=None,
    ),
    fit_case("channels first", "channels come first", x=np.moveaxis(X, -1, 1)),
    fit_case(
        "images of 9x9",
        r"must have the shape \(None, 8, 8, 1\)",
        x=np.pad(X, ((0, 0), (0, 1), (0, 1), (0, 0))),
    ),
    fit_case(
        "paths of files as images",
        r"inputs .*must have the shape|must be numbers",
        x=np.array([f"image_{i}.png" for i in range(64)]),
    ),
    fit_case("images that are all black", "inputs .*are 0 everywhere", x=0 * X),
    fit_case(
        "validation images of 0 to 255, training images of 0 to 1",
        "Training and validation images are scaled differently",
        fit={"validation_data": (255 * X, Y)},
    ),
    fit_case(
        "batches of one image, with batch normalization",
        "more than one sample",
        fit={"batch_size": 1},
    ),
]

WEIGHTS = [
    fit_case(
        "63 sample weights for 64 images",
        "sample weights .*64 and 63",
        fit={"sample_weight": np.ones(63)},
    ),
    fit_case(
        "a negative sample weight",
        "`sample_weight` must be at least 0",
        fit={"sample_weight": changed(np.ones(64), 3, -1.0)},
    ),
    fit_case(
        "a sample weight of NaN",
        "`sample_weight` must be finite",
        fit={"sample_weight": changed(np.ones(64), 3, np.nan)},
    ),
    fit_case(
        "sample weights of 0 throughout",
        "is 0 for all samples",
        fit={"sample_weight": np.zeros(64)},
    ),
    fit_case(
        "a class weight for class 10",
        r"`class_weight` must name classes 0 to 9.*\[10\]",
        fit={"class_weight": {0: 1.0, 10: 5.0}},
    ),
    fit_case(
        "class weights and sample weights",
        "not both",
        fit={"class_weight": {0: 2.0}, "sample_weight": np.ones(64)},
    ),
]

SETTINGS = [
    fit_case(
        "learning rate NaN",
        "learning rate must be a finite",
        learning_rate=lambda: float("nan"),
    ),
    fit_case(
        "learning rate -0.1",
        "learning rate must be a finite",
        learning_rate=lambda: -0.1,
    ),
    fit_case("learning rate 0", "learning rate is 0", learning_rate=lambda: 0.0),
    Case(
        "temperature 0",
        "`temperature` must be a finite number above 0",
        lambda: LogitsKD(temperature=0.0),
        lambda: stock_distiller(temperature=0.0),
    ),
    Case(
        "temperature NaN",
        "`temperature` must be a finite number above 0",
        lambda: LogitsKD(temperature=float("nan")),
        lambda: stock_distiller(temperature=float("nan")).fit(
            X, Y, epochs=2, verbose=0
        ),
    ),
    Case(
        "a method of weight -1",
        "`weight` must be a finite number of at least 0",
        lambda: LogitsKD(weight=-1.0),
        lambda: keras.distillation.Distiller(
            teacher(),
            student(),
            [keras.distillation.LogitsDistillation()],
            distillation_loss_weights=[-1.0],
        ),
    ),
    Case(
        "weight 0 for the labels' loss and no method",
        "All losses have weight 0",
        lambda: distiller(methods=[], task_loss_weight=0.0).preflight(X, Y),
        None,
    ),
    Case(
        "two names of layers that there are not",
        r"2 problems.*1\. Model 'student' .*2\. Model 'teacher'",
        lambda: distiller(methods=[FitNet("featurs", "featuers")]),
        lambda: keras.distillation.Distiller(
            teacher(),
            student(),
            keras.distillation.FeatureDistillation(
                teacher_layer_name="featurs", student_layer_name="featuers"
            ),
        ),
    ),
    Case(
        "501 denoising steps of 1000",
        "`num_inference_steps` must be an integer in 1 to 500",
        lambda: DiffKD(num_inference_steps=501),
        None,
    ),
    fit_case(
        "validation_split 1.5",
        "`validation_split` must be at least 0",
        fit={"validation_split": 1.5},
    ),
    fit_case(
        "steps_per_epoch 0",
        "`steps_per_epoch` must be an integer of at least 1",
        fit={"steps_per_epoch": 0},
    ),
    fit_case(
        "initial_epoch 5 with epochs 2",
        "Nothing will be trained",
        fit={"initial_epoch": 5},
    ),
    fit_case(
        "labels 1 to 10, a NaN in the images and a negative learning rate",
        r"3 problems.*1\. The learning rate.*2\. The inputs.*3\. Labels",
        x=changed(X, 7, np.nan),
        y=Y + 1,
        learning_rate=lambda: -0.1,
    ),
]

SECTIONS = {
    "Labels": LABELS,
    "Outputs and losses": OUTPUTS,
    "Models": MODELS,
    "Images": IMAGES,
    "Weights of samples and classes": WEIGHTS,
    "Settings": SETTINGS,
    "Teacher caches": CACHES,
    "Your own images": FOLDERS,
    "Shrinking": SHRINKING,
    "Training in int8": QUANTIZATION,
    "Exports": EXPORTS,
}
CASES = [case for cases in SECTIONS.values() for case in cases]
