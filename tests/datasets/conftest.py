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
    """Images of one colour each, which tells their number, with their labels."""

    def flat_images(labels, shape=(4, 4, 3)):
        return [
            (np.full(shape, number, np.uint8), label)
            for number, label in enumerate(labels)
        ]

    return flat_images


@pytest.fixture
def make_builder(tmp_path):
    """Prepares the data set "toy" in `tmp_path` and returns its builder.

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
        image = image or tfds.features.Image(shape=(4, 4, 3))
        label = label or tfds.features.ClassLabel(num_classes=3)

        class Toy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                features = {"picture": image, "kind": label}
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(features),
                    supervised_keys=supervised_keys,
                )

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(split) for split in examples}

            def _generate_examples(self, split):
                for index, (picture, kind) in enumerate(examples[split]):
                    yield index, {"picture": picture, "kind": kind}

        builder = Toy(data_dir=tmp_path)
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(num_shards=num_shards)
        )
        return builder

    return make_builder
