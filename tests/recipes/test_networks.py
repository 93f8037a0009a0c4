import keras
import pytest

from keras_diffkd.recipes import networks
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.recipes.tasks.classification import check_outputs_logits


def test_a_student_that_ends_in_softmax_is_refused():
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, activation="softmax")]
    )
    with pytest.raises(ValueError, match="ends in softmax"):
        check_outputs_logits(model, "--student")


def test_a_new_architecture_is_no_teacher_before_it_is_trained(
    parse, tmp_path, monkeypatch
):
    monkeypatch.setattr(networks, "build_network", lambda spec, data: None)
    parse("--teacher=hub:resnet_18_imagenet+new", "--dataset=digits")
    with pytest.raises(FileNotFoundError, match=r"imagenet\+new is not trained yet"):
        networks.load_teacher(RunDirectory(tmp_path), None, [])
    parse("--teacher=hub:resnet_18_imagenet", "--dataset=digits")
    assert networks.load_teacher(RunDirectory(tmp_path), None, []) is None
