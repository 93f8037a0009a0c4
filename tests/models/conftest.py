import io
import json
import math
import zipfile

import keras
import pytest


@pytest.fixture
def count_trainable():
    """Counts parameters as the literature does: without moving statistics."""

    def count_trainable(model):
        return sum(math.prod(weight.shape) for weight in model.trainable_weights)

    return count_trainable


class KerasFile:
    """The parts of a saved model, to be changed and written again."""

    def __init__(self, parts, path):
        self.parts, self.path = dict(parts), path

    @property
    def config(self):
        return json.loads(self.parts["config.json"])

    def with_layer(self, layer):
        """Puts a config in the place of the model's last layer."""
        config = self.config
        config["config"]["layers"][-1] = layer
        return self.with_config(config)

    def with_config(self, config):
        self.parts["config.json"] = json.dumps(config).encode()
        return self

    def write(self, compression=zipfile.ZIP_STORED):
        with zipfile.ZipFile(self.path, "w", compression) as archive:
            for name, part in self.parts.items():
                archive.writestr(name, part)
        return self.path


@pytest.fixture(scope="session")
def _saved_parts(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras_file") / "model.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def keras_file(_saved_parts, tmp_path):
    """A small model, whose file a test spoils."""
    return KerasFile(_saved_parts, tmp_path / "model.keras")


@pytest.fixture
def change_weights():
    """Changes the HDF5 file in the parts of a model."""
    h5py = pytest.importorskip("h5py")

    def change(keras_file, spoil):
        content = io.BytesIO(keras_file.parts["model.weights.h5"])
        with h5py.File(content, "r+") as file:
            spoil(file)
        keras_file.parts["model.weights.h5"] = content.getvalue()
        return keras_file

    return change
