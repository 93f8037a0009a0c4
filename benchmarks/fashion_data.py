"""The data of `fashion.py`: parts of Fashion-MNIST, and the teacher's stored outputs.

The last twelfth of the training images is held out for tuning: neither the teacher nor
a student of the stage `tune` trains on it. Students of the other stages may train on
all training images and are judged on the test images.
"""

import json

import keras
import numpy as np
from gpu_fashion import load, train_teacher

from keras_diffkd.features.weights_fingerprint import hash_weights
from keras_diffkd.idx import balanced_subset
from keras_diffkd.models import build_model

# Layers of the teacher whose outputs are stored; stage 1 would take 376 MB.
STORED = ("stage2", "features")
# Of a batch of the regime with unlabeled images.
LABELLED_SHARE = 0.25


class StoredTeacher:
    """A trained teacher and its outputs on the training images.

    Args:
        images: float32 `(examples, height, width, channels)`, the training images.
        weights: File of the teacher's weights.
        cache: Folder of its outputs, float16. They are computed if they are missing.

    Attributes:
        network: The teacher itself.
        fingerprint: String, of its weights.
        outputs: Dict from layer to array.
    """

    def __init__(self, images, weights, cache):
        self.network = build_model("fashion_teacher", images.shape[1:], 10)
        self.network.load_weights(weights)
        self.fingerprint = hash_weights(self.network)[:12]
        folder = cache / f"{self.fingerprint}_{len(images)}"
        paths = {name: folder / f"{name}.npy" for name in STORED}
        if not folder.exists():
            self._store(images, paths)
        self.outputs = {
            name: np.load(path, mmap_mode="r", allow_pickle=False)
            for name, path in paths.items()
        }

    def _store(self, images, paths):
        taps = [self.network.get_layer(name).output for name in paths]
        outputs = keras.Model(self.network.input, taps).predict(
            images, batch_size=1000, verbose=0
        )
        folder = next(iter(paths.values())).parent
        # Complete, or not there at all.
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        unfinished.mkdir(parents=True, exist_ok=True)
        for path, values in zip(paths.values(), outputs, strict=True):
            np.save(unfinished / path.name, values.astype("float16"))
        unfinished.rename(folder)

    def model(self, taps):
        """Returns the teacher as a small model of its stored outputs.

        Its layers `stage2` and `features` give them back, and the teacher's own
        classifier computes the logits. `input_names` of the model are the entries that
        a batch must have.

        Args:
            taps: Names of the stored outputs that methods tap.
        """
        names = [name for name in STORED if name in {*taps, "features"}]
        inputs = [
            keras.Input(self.outputs[name].shape[1:], name=f"stored_{name}")
            for name in names
        ]
        # A tapped layer must run for the logits: each is an input of the next.
        *earlier, x = inputs
        for name, tensor in zip(names, earlier, strict=False):
            tensor = keras.layers.Identity(name=name)(tensor)
            _, x = keras.layers.Identity(name=f"after_{name}")([tensor, x])
        x = keras.layers.Identity(name="features")(x)
        for name in ("pool", "logits"):
            x = self.network.get_layer(name)(x)
        inputs = inputs if len(inputs) > 1 else inputs[0]
        return keras.Model(inputs, x, name="stored_teacher")

    def decisions(self):
        """Returns the class that the teacher sees in each training image."""
        logits = self.model(()).predict(
            self.outputs["features"], batch_size=1000, verbose=0
        )
        return np.argmax(logits, axis=-1)


class FashionData:
    """Fashion-MNIST as students see it.

    Args:
        data_dir: Folder of IDX files.
        teacher: File of the teacher's weights.
        cache: Folder of the teacher's outputs.
    """

    def __init__(self, data_dir, teacher, cache):
        data = load(data_dir)
        self.images, self.labels = data["train"]
        self.test = data["test"]
        self.teacher = StoredTeacher(self.images, teacher, cache)
        self._decisions = self.teacher.decisions()

    def examples(self, stage):
        """Returns how many training images there are in a stage, the first ones."""
        return num_examples(self.labels, stage)

    def judged_on(self, stage):
        """Returns the images and labels that students of a stage are judged on."""
        if stage == "tune":
            first = self.examples(stage)
            return self.images[first:], self.labels[first:]
        return self.test

    def batches(self, stage, regime, seed, batch_size, taps):
        """Yields shuffled batches for ever: `(inputs, labels, sample weights)`.

        The inputs are a dictionary of the image and of the teacher's outputs. With
        unlabeled images, a quarter of each batch is labeled, and the others have
        weight 0. In place of a label they have the teacher's decision, because some
        methods' losses read labels.

        Args:
            stage: `"tune"` or another: which images there are.
            regime: A `Regime`.
            seed: Integer: draws the labeled images and the order.
            batch_size: Integer.
            taps: Names of the stored outputs.
        """
        labels = self.labels[: self.examples(stage)]
        chosen = np.arange(len(labels))
        if regime.per_class:
            chosen = balanced_subset(labels, regime.per_class, seed)
        known = np.zeros(len(labels), bool)
        known[chosen] = True
        labels = np.where(known, labels, self._decisions[: len(labels)])
        generator = np.random.default_rng(seed)
        streams = [_shuffled(chosen, batch_size, generator)]
        if regime.unlabeled:
            size = round(LABELLED_SHARE * batch_size)
            rest = np.flatnonzero(~known)
            streams = [
                _shuffled(chosen, size, generator),
                _shuffled(rest, batch_size - size, generator),
            ]
        while True:
            batch = np.concatenate([next(stream) for stream in streams])
            inputs = {"image": self.images[batch]}
            for name in taps:
                stored = self.teacher.outputs[name][batch]
                inputs[f"stored_{name}"] = stored.astype("float32")
            yield inputs, labels[batch].astype("int32"), known[batch].astype("float32")


def num_examples(labels, stage):
    """Returns how many training images a stage has: the last twelfth is held out."""
    return len(labels) - (len(labels) // 12 if stage == "tune" else 0)


def _shuffled(indices, size, generator):
    """Yields parts of the indices for ever; every pass leaves another remainder out."""
    while True:
        order = generator.permutation(indices)
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def train_new_teacher(data_dir, folder, epochs):
    """Trains the teacher of all stages, and writes its weights and what it can do.

    Args:
        data_dir: Folder of IDX files.
        folder: Gets `teacher.weights.h5` and `teacher.json`.
        epochs: Integer.
    """
    images, labels = load(data_dir)["train"]
    examples = num_examples(labels, "tune")
    folder.mkdir(parents=True, exist_ok=True)
    accuracy = train_teacher(data_dir, folder / "teacher.weights.h5", epochs, examples)
    # Nothing is chosen by the test accuracy.
    about = {"epochs": epochs, "examples": examples, "test_accuracy": accuracy}
    (folder / "teacher.json").write_text(json.dumps(about) + "\n")
