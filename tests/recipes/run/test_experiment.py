import pytest

from keras_diffkd.recipes import flags
from keras_diffkd.recipes.run import experiment


def test_flags_txt_reads_back_through_absl(parse, tmp_path):
    parse(
        "--dataset=digits",
        "--method=kd,fitnet",
        "--weight_decay=5e-4",
        "--nesterov",
        "--milestones=1,2",
        "--run_dir=a b",
    )
    before = experiment.recorded()
    experiment.write_flags(tmp_path, before)
    parse(f"--flagfile={tmp_path / 'flags.txt'}")
    assert experiment.recorded() == before
    assert flags.METHOD.value == ["kd", "fitnet"]
    assert flags.NESTEROV.value is True
    assert flags.TEMPERATURE.value is None
    assert experiment.read_flags(tmp_path) == before


def test_the_weight_that_the_task_sets_is_recorded(parse):
    assert experiment.recorded()["distill_weight"] == "balanced"
    parse("--task=detection")
    assert experiment.recorded()["distill_weight"] == "1.0"
    parse("--task_loss_weight=0")
    assert experiment.recorded()["distill_weight"] == "1.0"
    parse("--distill_weight=3")
    assert experiment.recorded()["distill_weight"] == "3.0"


def test_changed_flags_name_what_is_unset():
    text = experiment.changed_flags({"a": "1", "b": "2"}, {"a": "1", "c": "3"})
    assert text == "--b was 2, now unset, --c was unset, now 3"


def test_a_folder_of_images_may_move(parse, tmp_path, monkeypatch):
    (tmp_path / "here" / "photos").mkdir(parents=True)
    (tmp_path / "there" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    parse("--dataset=photos", "--unlabeled=./more")
    settings = experiment.recorded()
    assert settings["dataset"] == str(tmp_path / "here" / "photos")
    assert settings["unlabeled"] == str(tmp_path / "here" / "more")
    monkeypatch.chdir(tmp_path / "there")
    parse()
    experiment.adopt(settings)
    assert flags.DATASET.value == str(tmp_path / "here" / "photos")
    parse("--dataset=photos")
    experiment.adopt(settings)
    assert flags.DATASET.value == str(tmp_path / "there" / "photos")
    assert experiment.identity(experiment.recorded()) == experiment.identity(settings)
    parse("--dataset=./others")
    with pytest.raises(
        ValueError, match="trained on --dataset=.*here/photos. Received"
    ):
        experiment.adopt(settings)
