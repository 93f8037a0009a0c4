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


def test_changed_flags_name_what_is_unset():
    text = experiment.changed_flags({"a": "1", "b": "2"}, {"a": "1", "c": "3"})
    assert text == "--b was 2, now unset, --c was unset, now 3"
