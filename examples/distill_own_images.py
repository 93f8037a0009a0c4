"""Distills an image classifier on your own folder of images, from start to phone.

    python examples/distill_own_images.py --images=flowers --output_dir=runs/flowers

The folder has one subfolder of images for each class. Without --images, the script
makes itself a folder of handwritten digits, so that it runs anywhere, in a minute.
"""

import contextlib
import warnings
from pathlib import Path

import keras
import sklearn.datasets
from absl import app, flags

from keras_diffkd import DiffKD, Distiller, LogitsKD, datasets
from keras_diffkd.export import export_student, format_table, verify
from keras_diffkd.features.specs import list_taps
from keras_diffkd.models import load_model, pretrained_preprocessing, with_preprocessing

with contextlib.suppress(ImportError):
    import keras_hub  # noqa: F401  A .keras file may hold one of its models.

# Defaults of --teacher, --student, --size and --learning_rate: with --images, trained
# models of KerasHub; without, models that are small enough for the digits.
PRETRAINED = "hub:resnet_50_imagenet", "hub:mobilenet_v3_small_100_imagenet", 224, 1e-3
DIGITS = "digits_teacher", "digits_student", 8, 1e-2

IMAGES = flags.DEFINE_string("images", None, "Folder with one subfolder per class.")
TEACHER = flags.DEFINE_string("teacher", None, "Model, preset or .keras file.")
STUDENT = flags.DEFINE_string("student", None, "Model, preset or .keras file.")
SIZE = flags.DEFINE_integer("size", None, "Height and width of the images.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "Learning rate of Adam.")
TEACHER_TAP = flags.DEFINE_string("teacher_tap", None, "Layer; see docs/taps.md.")
STUDENT_TAP = flags.DEFINE_string("student_tap", None, "Layer; see docs/taps.md.")
TEACHER_EPOCHS = flags.DEFINE_integer("teacher_epochs", 5, "Epochs of its new head.")
EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs of the distillation.")
NUM_DIGITS = flags.DEFINE_integer(
    "num_digits", 1797, "Number of digits, without --images."
)
OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "runs/own_images", "Folder of all results."
)


def main(_):
    """Trains the teacher's head, distills, exports."""
    output_dir = Path(OUTPUT_DIR.value)
    output_dir.mkdir(parents=True, exist_ok=True)
    defaults = PRETRAINED if IMAGES.value else DIGITS
    given = (TEACHER.value, STUDENT.value, SIZE.value, LEARNING_RATE.value)
    teacher_spec, student_spec, size, learning_rate = (
        value or default for value, default in zip(given, defaults, strict=True)
    )

    # 1. Images, prepared once in the folder of the data sets; a fifth is for testing.
    images = IMAGES.value or write_digits(output_dir / "digits", NUM_DIGITS.value)
    data = datasets.load_classification(
        str(images),
        data_dir=str(output_dir / "data"),
        batch_size=32,
        image_size=size,
        color_mode="rgb",
    )
    print(data.description)

    # 2. Both models, and what is compared. A wrong name or layer shows here, before
    #    anything is trained.
    teacher, student = build(teacher_spec, data), build(student_spec, data)
    distiller = make_distiller(teacher, student)
    compile_for_labels(distiller, learning_rate)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The teacher is no better than chance")
        distiller.preflight(data.train, steps_per_epoch=data.steps_per_epoch)

    # 3. A teacher that knows these classes. A .keras file is taken as it is; any other
    #    model has a new head, which is trained here on top of what the rest knows.
    if not teacher_spec.endswith(".keras"):
        train_teacher(teacher, data, learning_rate)
        teacher.save(output_dir / "teacher.keras")

    # 4. The student learns from the labels, the teacher's features and its logits.
    fit(distiller, data, EPOCHS.value)

    # 5. What is left is a plain Keras model.
    student = distiller.strip()
    student.save(output_dir / "student.keras")
    export(student, output_dir / "export", data)
    print(f"Done: {output_dir}/student.keras and {output_dir}/export/")


def build(spec, data):
    """Loads or builds a model, and gives a pretrained one the colors it expects."""
    model = load_model(spec, input_shape=data.image_shape, num_classes=data.num_classes)
    preprocess = pretrained_preprocessing(spec)
    if preprocess is None:
        return model
    return with_preprocessing(model, preprocess, data.normalization)


def make_distiller(teacher, student):
    """Returns a distiller that compares feature maps and logits."""
    taps = (
        TEACHER_TAP.value or last_feature_map(teacher),
        STUDENT_TAP.value or last_feature_map(student),
    )
    print("Tapped:", *taps)
    features = DiffKD(
        *taps,
        latent_channels=32,
        resize="bilinear",
        distill_weight="balanced",
        name="features",
    )
    logits = LogitsKD(weight="balanced", name="logits")
    return Distiller(teacher, student, [features, logits])


def train_teacher(teacher, data, learning_rate):
    """Trains the head of a KerasHub classifier, or all of a model from scratch."""
    for layer in teacher.layers:
        if hasattr(layer, "backbone"):
            layer.backbone.trainable = False
    compile_for_labels(teacher, learning_rate)
    fit(teacher, data, TEACHER_EPOCHS.value)


def compile_for_labels(model, learning_rate):
    """Compiles a model whose outputs are logits."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])


def fit(model, data, epochs):
    """Trains a model or a distiller; the data set shuffles itself."""
    model.fit(
        data.train,
        steps_per_epoch=data.steps_per_epoch,
        validation_data=data.test,
        epochs=epochs,
        shuffle=False,
        verbose=2,
    )


def last_feature_map(model):
    """The last (batch, height, width, channels): right for convolutional networks."""
    maps = [
        tap
        for tap, shape in list_taps(model).items()
        if len(shape) == 4 and shape[1] != 1
    ]
    if not maps:
        raise ValueError(
            f"No feature map in {model.name}: give --teacher_tap and "
            "--student_tap, see docs/taps.md"
        )
    return maps[-1]


def export(student, folder, data):
    """Exports files that take raw pixels, like diffkd-export, and verifies each one."""
    samples = next(data.test.unbatch().batch(512).as_numpy_iterator())
    export_student(
        student,
        folder,
        input="uint8",
        samples=samples,
        labels=data.label_names,
        normalization=data.normalization,
    )
    print(format_table(verify(folder, student, samples)))


def write_digits(folder, number):
    """Writes scikit-learn's digits as PNGs, a folder for each class."""
    digits = sklearn.datasets.load_digits()
    for index in range(number):
        path = folder / str(digits.target[index]) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = digits.images[index][..., None] * (255 / 16)
        keras.utils.save_img(path, image, scale=False)
    return folder


if __name__ == "__main__":
    app.run(main)
