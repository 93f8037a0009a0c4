import pytest
import tensorflow_datasets as tfds

from keras_diffkd.datasets.digits import Digits
from keras_diffkd.datasets.preparation import prepared_builder


def test_prepares_digits_once(tmp_path, monkeypatch, capfd):
    builder = prepared_builder("digits", tmp_path)
    assert builder.info.splits["train"].num_examples == 1352
    assert capfd.readouterr().out == ""

    def generate(self, test):
        raise AssertionError("prepared again")

    monkeypatch.setattr(Digits, "_generate_examples", generate)
    assert prepared_builder("digits", tmp_path).is_prepared()


def test_prepares_digit_scenes_in_silence(tmp_path, capfd):
    builder = prepared_builder("digit_scenes/small", tmp_path)
    assert builder.info.splits["test"].num_examples == 32
    assert capfd.readouterr().out == ""


def test_reads_a_prepared_data_set_without_its_code(
    make_builder, flat_images, tmp_path
):
    make_builder({"train": flat_images([0, 1])})
    builder = prepared_builder("toy", tmp_path)
    assert builder.info.splits["train"].num_examples == 2


def test_another_process_may_be_faster(tmp_path, monkeypatch):
    prepare = Digits.download_and_prepare

    def lose_the_race(self):
        prepare(Digits(data_dir=tmp_path))
        raise OSError("Directory not empty")

    monkeypatch.setattr(Digits, "download_and_prepare", lose_the_race)
    builder = prepared_builder("digits", tmp_path)
    assert builder.info.splits["test"].num_examples == 445


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="could not prepare .*'digits'.*file"):
        prepared_builder("digits", tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar1000", "Received: 'cifar1000'. Did you mean 'cifar100'"),
        ("digit", "Did you mean 'digits'"),
        ("xxxxxxxxxx", "Received: 'xxxxxxxxxx'. Expected 'digits', 'digit_scenes' or"),
        ("not a name", "Received: 'not a name'"),
        ("", "Received: ''"),
        # Would be looked up in the network.
        ("huggingface:cifar100", "Received: 'huggingface:cifar100'"),
        ("cifar100:9.9.9", "cannot load 'cifar100:9.9.9'.*3.0.2"),
        ("coco/nonsense", "cannot load 'coco/nonsense'"),
    ],
)
def test_unknown_names(tmp_path, name, expected):
    with pytest.raises(ValueError, match=expected):
        prepared_builder(name, tmp_path)


def test_nothing_is_downloaded_without_being_asked_for(tmp_path):
    with pytest.raises(ValueError, match="'cifar100' is not prepared") as error:
        prepared_builder("cifar100", tmp_path)
    assert f"tfds build cifar100 --data_dir={tmp_path}" in str(error.value)
    assert "--download" in str(error.value)
    assert not list(tmp_path.iterdir())


def test_says_what_must_be_downloaded_by_hand(tmp_path):
    with pytest.raises(ValueError, match="'imagenet2012' is not prepared") as error:
        prepared_builder("imagenet2012", tmp_path)
    assert "ILSVRC2012_img_train.tar" in str(error.value)
    assert f"{tmp_path}/downloads/manual" in str(error.value)


def test_downloads_when_asked_to(tmp_path, monkeypatch):
    def fail(self):
        raise ConnectionError("no network")

    cifar100 = tfds.builder_cls("cifar100")
    monkeypatch.setattr(cifar100, "download_and_prepare", fail)
    with pytest.raises(ValueError, match="could not prepare .*'cifar100'.*no network"):
        prepared_builder("cifar100", tmp_path, download=True)
