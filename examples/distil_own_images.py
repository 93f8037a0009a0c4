"""Distils an image classifier on your own folder of images, from start to phone.

    python examples/distil_own_images.py --images=flowers --output_dir=runs/flowers

The folder has one subfolder of images for each class. Without --images, the script
makes itself a folder of handwritten digits, so that it runs anywhere, in a minute.
"""

import contextlib
from pathlib import Path

import keras
import sklearn.datasets
from absl import app, flags

from keras_diffkd import DiffKD, Distiller, LogitsKD
from keras_diffkd.export import export_student, format_table, verify
from keras_diffkd.features.taps import list_taps
from keras_diffkd.models import load_model, pretrained_preprocessing, with_preprocessing

with contextlib.suppress(ImportError):
    import keras_hub  # noqa: F401  A .keras file may hold one of its models.

# --teacher, --student, --size and --learning_rate if you do not say: with --images,
# trained models of KerasHub; without, models that are small enough for the digits.
PRETRAINED = "hub:resnet_50_imagenet", "hub:mobilenet_v3_small_100_imagenet", 224, 1e-3
DIGITS = "digits_teacher", "digits_student", 8, 1e-2

IMAGES = flags.DEFINE_string("images", None, "Folder with one subfolder per class.")
TEACHER = flags.DEFINE_string("teacher", None, "Model, preset or .keras file.")
STUDENT = flags.DEFINE_string("student", None, "Model, preset or .keras file.")
SIZE = flags.DEFINE_integer("size", None, "Height and width of the images.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "Adam's.")
TEACHER_TAP = flags.DEFINE_string("teacher_tap", None, "Layer; see docs/taps.md.")
STUDENT_TAP = flags.DEFINE_string("student_tap", None, "Layer; see docs/taps.md.")
TEACHER_EPOCHS = flags.DEFINE_integer("teacher_epochs", 5, "For its new head.")
EPOCHS = flags.DEFINE_integer("epochs", 10, "Epochs of the distillation.")
NUM_DIGITS = flags.DEFINE_integer("num_digits", 1797, "Without --images: how many.")
OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/own_images", "For all results.")

# Models take (pixel / 255 - mean) / std.
NORMALIZATION = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_range": [0, 255]}


def main(_):
    """Trains the teacher's head, distils, exports."""
    output_dir = Path(OUTPUT_DIR.value)
    output_dir.mkdir(parents=True, exist_ok=True)
    defaults = PRETRAINED if IMAGES.value else DIGITS
    given = (TEACHER.value, STUDENT.value, SIZE.value, LEARNING_RATE.value)
    teacher_spec, student_spec, size, learning_rate = (
        value or default for value, default in zip(given, defaults, strict=True)
    )

    # 1. Images in, normalized; a fifth of them is kept for validation.
    images = IMAGES.value or write_digits(output_dir / "digits", NUM_DIGITS.value)
    train, validation, classes = load_images(images, size)

    # 2. A teacher that knows these classes. A .keras file is taken as it is; any other
    #    model has a new head, which is trained here on top of what the rest knows.
    teacher = build(teacher_spec, size, len(classes))
    if not teacher_spec.endswith(".keras"):
        train_teacher(teacher, train, validation, learning_rate)
        teacher.save(output_dir / "teacher.keras")

    # 3. The student learns from the labels, the teacher's features and its logits.
    student = build(student_spec, size, len(classes))
    taps = (
        TEACHER_TAP.value or last_feature_map(teacher),
        STUDENT_TAP.value or last_feature_map(student),
    )
    print("Tapped:", *taps)
    features = DiffKD(*taps, latent_channels=32, resize="bilinear", name="features")
    distiller = Distiller(
        teacher=teacher, student=student, methods=[features, LogitsKD(name="logits")]
    )
    compile_for_labels(distiller, learning_rate)
    fit(distiller, train, validation, EPOCHS.value)

    # 4. What is left is a plain Keras model. Each exported file is run and compared.
    student = distiller.strip()
    student.save(output_dir / "student.keras")
    samples = next(iter(validation.rebatch(128)))
    samples = tuple(keras.ops.convert_to_numpy(part) for part in samples)
    export_dir = output_dir / "export"
    export_student(
        student,
        export_dir,
        samples=samples,
        labels=classes,
        normalization=NORMALIZATION,
    )
    print(format_table(verify(export_dir, student, samples)))
    print(f"Done: {output_dir}/student.keras and {export_dir}/")


def load_images(folder, size):
    """Returns training data, validation data and the names of the classes."""
    train, validation = keras.utils.image_dataset_from_directory(
        folder,
        image_size=(size, size),
        batch_size=32,
        validation_split=0.2,
        subset="both",
        seed=0,
    )
    mean, std = NORMALIZATION["mean"][0], NORMALIZATION["std"][0]

    def normalize(pixels, labels):
        return (pixels / 255.0 - mean) / std, labels

    classes = train.class_names
    return train.map(normalize).prefetch(2), validation.map(normalize), classes


def build(spec, size, num_classes):
    """Loads or builds a model, and gives a pretrained one the colors it expects."""
    model = load_model(spec, input_shape=(size, size, 3), num_classes=num_classes)
    preprocess = pretrained_preprocessing(spec)
    if preprocess is None:
        return model
    return with_preprocessing(model, preprocess, NORMALIZATION)


def train_teacher(teacher, train, validation, learning_rate):
    """Trains the head of a KerasHub classifier, or all of a model from scratch."""
    for layer in teacher.layers:
        if hasattr(layer, "backbone"):
            layer.backbone.trainable = False
    compile_for_labels(teacher, learning_rate)
    fit(teacher, train, validation, TEACHER_EPOCHS.value)


def compile_for_labels(model, learning_rate):
    """Compiles a model whose outputs are logits."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])


def fit(model, train, validation, epochs):
    """Trains a model or a distiller; the data set shuffles itself."""
    settings = {"epochs": epochs, "verbose": 2, "shuffle": False}
    model.fit(train, validation_data=validation, **settings)


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
