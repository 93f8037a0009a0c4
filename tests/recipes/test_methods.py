import pytest
from absl.flags import IllegalFlagValueError

from keras_diffkd import DSKD, TTM, DiffKD, FitNet, KDiffusion, LogitsKD, VkD
from keras_diffkd.recipes import flags
from keras_diffkd.recipes.methods import build_methods


def test_diffkd_is_features_and_logits(parse):
    parse("--latent_channels=8", "--denoise_weight=0.5", "--teacher_tap=block4")
    features, logits = build_methods(["diffkd"])
    assert isinstance(features, DiffKD)
    assert (features.teacher_tap, features.student_tap) == ("block4", "features")
    assert features.latent_channels == 8
    assert features.distance == "mse"
    assert features.denoise_weight == 0.5
    assert isinstance(logits, DiffKD)
    assert (logits.teacher_tap, logits.student_tap) == (None, None)
    assert logits.latent_channels is None
    assert (logits.distance, logits.temperature) == ("kl", 1.0)
    assert features.name != logits.name
    assert features.seed != logits.seed


def test_baselines(parse):
    parse("--distill_weight=0.3", "--resize=bilinear")
    kd, fitnet = build_methods(["kd", "fitnet"])
    assert isinstance(kd, LogitsKD)
    assert (kd.temperature, kd.weight) == (4.0, 0.3)
    assert isinstance(fitnet, FitNet)
    assert (fitnet.resize, fitnet.weight) == ("bilinear", 0.3)


def test_a_weight_is_a_number_or_balanced(parse):
    parse("--distill_weight=balanced")
    kd, features, logits = build_methods(["kd", "diffkd"])
    assert (kd.weight, features.distill_weight) == ("balanced", "balanced")
    assert (logits.distill_weight, logits.denoise_weight) == ("balanced", 1.0)
    for text in ("-1", "nan", "balance", ""):
        with pytest.raises(IllegalFlagValueError, match="number of at least 0, or 'b"):
            parse(f"--distill_weight={text}")


def test_weights_are_balanced_where_there_is_a_task_loss(parse):
    parse()
    kd, features = build_methods(["kd", "diffkd_features"])
    assert (kd.weight, features.distill_weight) == ("balanced", "balanced")
    parse("--task_loss_weight=0")
    assert build_methods(["kd"])[0].weight == 1.0


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_weights_of_other_tasks_are_not_balanced(parse, task):
    parse(f"--task={task}")
    assert build_methods(["diffkd_features"])[0].distill_weight == 1.0
    parse(f"--task={task}", "--distill_weight=balanced")
    assert build_methods(["diffkd_features"])[0].distill_weight == "balanced"


def test_relatives_of_diffkd(parse):
    parse("--student_convolution=conv9", "--distill_weight=0.3", "--seed=5")
    dskd, kdiffusion, vkd = build_methods(["dskd", "kdiffusion", "vkd"])
    assert isinstance(dskd, DSKD)
    assert (dskd.distill_weight, dskd.seed) == (0.3, 5)
    assert isinstance(kdiffusion, KDiffusion)
    assert kdiffusion.get_config()["student_tap"] == "conv9"
    assert isinstance(vkd, VkD)
    assert (vkd.student_tap, vkd.weight) == ("features", 0.3)
    parse()
    with pytest.raises(ValueError, match="--student_convolution is required"):
        build_methods(["kdiffusion"])


def test_the_temperature_flag_is_for_all(parse):
    parse("--temperature=2", "--method=kd,diffkd_logits")
    assert [m.temperature for m in build_methods(flags.METHOD.value)] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("arguments", "temperature"),
    [
        ([], 4.0),
        (["--task=segmentation"], 1.0),
        (["--task=segmentation", "--temperature=3"], 3.0),
        (["--task=segmentation", "--standardize_logits"], 2.0),
    ],
)
def test_pixels_take_a_low_temperature(parse, arguments, temperature):
    parse("--method=kd,dkd", *arguments)
    kd, dkd = build_methods(["kd", "dkd"])
    assert (kd.temperature, dkd.temperature) == (temperature, temperature)


def test_ttm_and_wttm_soften_the_teacher_alone(parse):
    parse("--distill_weight=45")
    plain, weighted = build_methods(["ttm", "wttm"])
    assert isinstance(plain, TTM)
    assert (plain.temperature, plain.weight, plain.weighted) == (4.0, 45.0, False)
    assert (weighted.temperature, weighted.weighted) == (4.0, True)
    assert weighted.name == "wttm"


def test_standardized_logits(parse):
    names = ["kd", "dist", "dkd", "diffkd", "fitnet"]
    parse()
    assert [
        m.temperature for m in build_methods(names) if hasattr(m, "temperature")
    ] == [4.0, 1.0, 4.0, 1.0, 1.0]
    parse("--standardize_logits")
    *of_logits, features, logits, _ = build_methods(names)
    for method in (*of_logits, logits):
        assert method.standardize_logits
        assert method.temperature == 2.0
    assert not features.standardize_logits
    parse("--standardize_logits", "--temperature=3")
    assert build_methods(["kd"])[0].temperature == 3.0


@pytest.mark.parametrize("names", [["fitnet"], ["ttm"], ["kd", "wttm"], ["none"]])
def test_standardized_logits_where_they_mean_nothing(parse, names):
    parse("--standardize_logits")
    with pytest.raises(ValueError, match=f"--method={','.join(names)}"):
        build_methods(names)


def test_none(parse):
    assert build_methods(["none"]) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["dark_magic"], "Received: 'dark_magic'"),
        ([], "Received: ''"),
        (["none", "kd"], "'none' alone"),
        (["kd", "kd"], "the same method twice"),
        (["diffkd", "diffkd_logits"], "the same method twice"),
    ],
)
def test_refuses(parse, names, message):
    with pytest.raises(ValueError, match=message):
        build_methods(names)
