"""Distills an object detector: a RetinaNet of KerasHub into one with half the weights.

    python examples/distill_detector.py --output_dir=runs/detector

The default data set, `digit_scenes`, is made on the spot: scenes of handwritten digits.
Any detection data set of TFDS that is prepared in --data_dir will do; photographs want
other models, and a GPU (this one we have not run):

    python examples/distill_detector.py --dataset=voc/2007 --image_size=512 \
        --epochs=50 --teacher=retinanet_resnet50 --student=retinanet_resnet18
"""

from pathlib import Path

import keras
import numpy as np
from absl import app, flags, logging

from keras_diffkd import DiffKD, Distiller, datasets, metrics, models
from keras_diffkd.export import export_student, format_table, verify

DATASET = flags.DEFINE_string(
    "dataset", "digit_scenes", "Data set of TFDS, with boxes."
)
DATA_DIR = flags.DEFINE_string("data_dir", "data", "Folder of the data sets.")
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Height and width; unset: as stored."
)
TEACHER = flags.DEFINE_string(
    "teacher", "retinanet_scenes_teacher", "Model of the zoo."
)
STUDENT = flags.DEFINE_string(
    "student", "retinanet_scenes_student", "Model of the zoo."
)
EPOCHS = flags.DEFINE_integer("epochs", 4, "Epochs of the teacher and of the student.")
STEPS = flags.DEFINE_integer("steps_per_epoch", None, "Steps; unset: all images.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Images in a training step.")
LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "First rate of a cosine.")
OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "runs/detector", "Folder of all results."
)

# What is compared: every level of the feature pyramid. See docs/taps.md.
TAP = "backbone/fpn"


def main(_):
    """Trains a teacher, distills, evaluates and exports."""
    logging.set_verbosity(logging.ERROR)  # TFDS tells every file that it reads.
    output_dir = Path(OUTPUT_DIR.value)
    output_dir.mkdir(parents=True, exist_ok=True)

    # 1. Images, and boxes as xyxy pixels with a label each.
    data = datasets.load_detection(
        DATASET.value,
        data_dir=DATA_DIR.value,
        batch_size=BATCH_SIZE.value,
        image_size=IMAGE_SIZE.value,
    )
    steps = STEPS.value or data.steps_per_epoch
    print(
        f"{DATASET.value}: {data.num_train_examples} images for training, "
        f"{data.num_test_examples} for the test, {data.num_classes} classes.\n"
        f"First the teacher is trained, then the student, {EPOCHS.value} epochs of "
        f"{steps} steps each.\nThe defaults take about five minutes on four cores."
    )
    settings = {"epochs": EPOCHS.value, "steps_per_epoch": steps, "shuffle": False}

    # 2. Both models. The student has its own loss, for the boxes; the distiller adds
    #    that of DiffKD, and has the optimizer: the student's is not used. A wrong name
    #    or layer shows here, before anything is trained.
    teacher = models.build_model(TEACHER.value, data.image_shape, data.num_classes)
    student = models.build_model(STUDENT.value, data.image_shape, data.num_classes)
    student.compile("sgd", **detection_loss())
    distiller = Distiller(teacher, student, [DiffKD(TAP, TAP, latent_channels=64)])
    distiller.compile(build_optimizer(steps))
    distiller.preflight(data.train, steps_per_epoch=steps)

    # 3. The teacher, trained as any detector of KerasHub is, and then the student.
    teacher.compile(build_optimizer(steps), **detection_loss())
    teacher.fit(data.train, **settings, verbose=2)
    teacher.save(output_dir / "teacher.keras")
    distiller.fit(data.train, **settings, verbose=2)

    # 4. What is left is a plain detector of KerasHub.
    student = distiller.strip()
    student.save(output_dir / "student.keras")
    print_precision({"teacher": teacher, "student": student}, data)

    # 5. Files for other runtimes, with decoded boxes.
    export(student, output_dir / "export", data)
    print(f"Done: {output_dir}/student.keras and {output_dir}/export/")


def print_precision(detectors, data):
    """Prints the parameters and the mAP of detectors, by name."""
    print(f"\n{'':9}{'parameters':>12}{'mAP':>8}{'mAP50':>8}")
    for name, detector in detectors.items():
        found = mean_average_precision(detector, data)
        print(
            f"{name:9}{detector.count_params():12,}"
            f"{found['mAP']:8.3f}{found['mAP50']:8.3f}"
        )


def export(student, folder, data):
    """Exports a detector, runs each file and compares it."""
    images, objects = next(iter(data.test.unbatch().batch(64)))
    samples = images.numpy(), {name: part.numpy() for name, part in objects.items()}
    judge = exported_precision(student, data)
    export_student(
        student,
        folder,
        samples=samples,
        labels=data.label_names,
        normalization=data.normalization,
        metrics=judge,
    )
    print(f"\n{format_table(verify(folder, student, samples, metrics=judge))}")


def build_optimizer(steps_per_epoch):
    """Plain SGD; clipped gradients are what lets a RetinaNet start at this rate."""
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE.value, EPOCHS.value * steps_per_epoch
    )
    return keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=1.0)


def detection_loss():
    """The loss of the boxes; that of the classes is KerasHub's focal loss."""
    return {"box_loss": keras.losses.Huber(reduction="sum")}


def mean_average_precision(detector, data):
    """COCO's mAP on the test split, from 0 to 1."""
    found, targets = [], []
    for images, objects in data.test:
        outputs = detector(images, training=False)
        found.append(metrics.detections(outputs, detector))
        targets.append({name: part.numpy() for name, part in objects.items()})
    return coco_map(found, targets, data)


def exported_precision(student, data):
    """The same of what an exported file gives for the samples it is verified on."""

    def judge(outputs, objects):
        return coco_map([metrics.detections(outputs, student)], [objects], data)

    return judge


def coco_map(found, targets, data):
    """COCO's mAP of what was found in some batches."""
    boxes, scores, classes = map(np.concatenate, zip(*found, strict=True))
    objects = {
        name: np.concatenate([batch[name] for batch in targets]) for name in targets[0]
    }
    return metrics.coco_map(boxes, scores, classes, objects, data.num_classes)


if __name__ == "__main__":
    app.run(main)
