import shutil

import keras
import pytest
from absl import flags
from absl.testing import flagsaver
from helpers.brief_latencies import measure_briefly
from helpers.digit_networks import network

from keras_diffkd.recipes import distill

measure_briefly()


@pytest.fixture
def parse():
    """Sets the flags to a command line's, until the end of the test."""

    def parse(*arguments):
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["test", *arguments])

    with flagsaver.flagsaver():
        parse()
        yield parse


@pytest.fixture(scope="session")
def network_files(tmp_path_factory):
    """A teacher and a student that are not trained."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("networks")
    network(8).save(folder / "teacher.keras")
    network(4).save(folder / "student.keras")
    return list(folder.iterdir())


@pytest.fixture
def distil(parse, tmp_path, data_dir, network_files):
    """Runs `diffkd-distill` in this process, on files in the temporary folder."""
    for path in network_files:
        shutil.copy(path, tmp_path)

    def distil(*arguments, run="run"):
        parse(
            f"--run_dir={tmp_path / run}",
            f"--data_dir={data_dir}",
            "--dataset=digits",
            f"--teacher={tmp_path / 'teacher.keras'}",
            f"--student={tmp_path / 'student.keras'}",
            "--steps_per_epoch=2",
            "--epochs=1",
            "--method=kd",
            *arguments,
        )
        distill.main([])
        return tmp_path / run

    return distil
