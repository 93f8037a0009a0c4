import socket

import numpy as np
import pytest
import tensorflow_datasets as tfds


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every attempt to look a host up fails the test."""

    def getaddrinfo(host, *args, **kwargs):
        pytest.fail(f"tried to reach {host}")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.fixture
def flat_images():
    """Images of one color each, which tells their number, with their labels."""

    def flat_images(labels, shape=(4, 4, 3)):
        return [
            (np.full(shape, number, np.uint8), label)
            for number, label in enumerate(labels)
        ]

    return flat_images


@pytest.fixture
def make_data_set(tmp_path):
    """Prepares the data set "toy" in `tmp_path` and returns its builder.

    `features` are those of each example, `examples` maps the names of splits to
    lists of dictionaries with them.
    """

    def make_data_set(features, examples, supervised_keys=None, num_shards=1):
        class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=supervised_keys,
                )

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(split) for split in examples}

            def _generate_examples(self, split):
                yield from enumerate(examples[split])

        builder = Toy(data_dir=tmp_path)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=num_shards)
        )
        return builder

    return make_data_set


@pytest.fixture
def make_builder(make_data_set):
    """Prepares a classification data set "toy" and returns its builder.

    `examples` maps the names of splits to lists of (image, label). The features are
    called "picture" and "kind", so that nothing relies on "image" and "label".
    """

    def make_builder(
        examples,
        image=None,
        label=None,
        supervised_keys=("picture", "kind"),
        num_shards=1,
    ):
        features = {
            "picture": image or tfds.features.Image(shape=(4, 4, 3)),
            "kind": label or tfds.features.ClassLabel(num_classes=3),
        }
        examples = {
            split: [{"picture": picture, "kind": kind} for picture, kind in pairs]
            for split, pairs in examples.items()
        }
        return make_data_set(features, examples, supervised_keys, num_shards)

    return make_builder


@pytest.fixture
def make_scenes(make_data_set):
    """Prepares an object detection data set "toy" and returns its builder.

    `examples` maps the names of splits to lists of (image, boxes, labels); boxes
    are not checked. Names are such that nothing relies on those of COCO.
    `more_of_objects` maps further features of objects to (feature, values).
    """

    def make_scenes(examples, image=None, **more_of_objects):
        objects = {
            "corners": tfds.features.BBoxFeature(bbox_format=None),
            "kind": tfds.features.ClassLabel(num_classes=3),
            **{key: feature for key, (feature, _) in more_of_objects.items()},
        }
        features = {
            "picture": image or tfds.features.Image(encoding_format="png"),
            "things": tfds.features.Sequence(objects),
        }

        def example(picture, boxes, labels):
            things = [
                {"corners": np.array(box, np.float32), "kind": label}
                | {key: values[i] for key, (_, values) in more_of_objects.items()}
                for i, (box, label) in enumerate(zip(boxes, labels, strict=True))
            ]
            return {"picture": picture, "things": things}

        return make_data_set(
            features,
            {split: [example(*e) for e in group] for split, group in examples.items()},
        )

    return make_scenes
