import types

import keras
import pytest
from helpers.digit_networks import network

from keras_diffkd.recipes import networks
from keras_diffkd.recipes.run.directory import RunDirectory
from keras_diffkd.recipes.tasks.classification import check_outputs_logits


def test_a_student_that_ends_in_softmax_is_refused():
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, activation="softmax")]
    )
    with pytest.raises(ValueError, match="ends in softmax"):
        check_outputs_logits(model, "--student")


def test_the_teacher_of_a_run_may_be_given_as_its_file(parse, tmp_path):
    run = RunDirectory(tmp_path)
    network(8).save(run.teacher)
    (tmp_path / "teacher").mkdir()
    trained_with = "--teacher=digits_teacher\n--dataset=digits\n"
    (tmp_path / "teacher" / "flags.txt").write_text(trained_with)
    data = types.SimpleNamespace(image_shape=(8, 8, 1), num_classes=10)

    parse(f"--teacher={run.teacher}", "--dataset=digits")
    loaded = networks.load_teacher(run, data, [])
    assert loaded.count_params() == network(8).count_params()
    parse("--teacher=digits_student", "--dataset=digits")
    message = "--teacher=digits_teacher. Received: --teacher=digits_student. Repeat"
    with pytest.raises(ValueError, match=message):
        networks.load_teacher(run, data, [])


def test_a_new_architecture_is_no_teacher_before_it_is_trained(
    parse, tmp_path, monkeypatch
):
    monkeypatch.setattr(networks, "build_network", lambda spec, data: None)
    parse("--teacher=hub:resnet_18_imagenet+new", "--dataset=digits")
    with pytest.raises(FileNotFoundError, match=r"imagenet\+new is not trained yet"):
        networks.load_teacher(RunDirectory(tmp_path), None, [])
    parse("--teacher=hub:resnet_18_imagenet", "--dataset=digits")
    assert networks.load_teacher(RunDirectory(tmp_path), None, []) is None
