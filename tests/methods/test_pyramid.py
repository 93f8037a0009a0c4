import keras
import numpy as np
import pytest
from helpers.small_models import cross_entropy, random_batch

from keras_diffkd import AFD, DiffKD, Distiller, FitNet, LogitsKD, VkD

LEVELS = {"P2": (4, 4), "P3": (2, 2)}


class Neck(keras.layers.Layer):
    """Gives a dictionary of two maps, as feature pyramid networks do."""

    def __init__(self, widths, keys=("P2", "P3"), **kwargs):
        super().__init__(**kwargs)
        self.convs = {
            key: keras.layers.Conv2D(width, 3, strides=2, padding="same")
            for key, width in zip(keys, widths, strict=True)
        }

    def call(self, x):
        outputs = {}
        for key, conv in self.convs.items():
            outputs[key] = x = conv(x)
        return outputs


def detector(widths, keys=("P2", "P3")):
    image = keras.Input((8, 8, 1))
    maps = Neck(widths, keys, name="neck")(image)
    pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in maps.values()]
    x = keras.layers.Concatenate()(pooled)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x))


def features(rng, widths):
    return {
        level: rng.normal(size=(4, *grid, width)).astype("float32")
        for (level, grid), width in zip(LEVELS.items(), widths, strict=True)
    }


def shapes_of(features):
    return {level: (None, *feature.shape[1:]) for level, feature in features.items()}


def built(method, rng, teacher=(12, 16), student=(8, 10)):
    teacher, student = features(rng, teacher), features(rng, student)
    method.build(shapes_of(teacher), shapes_of(student))
    return teacher, student


@pytest.mark.parametrize("make", [FitNet, VkD, lambda: DiffKD(latent_channels=8)])
def test_losses_are_the_means_over_the_levels(make, rng):
    method = make()
    teacher, student = built(method, rng)
    draws = {}
    if isinstance(method, DiffKD):
        shapes = {k: (4, *grid, 8) for k, grid in LEVELS.items()}
        for name in ("init_noise", "denoise_noise"):
            draws[name] = {k: rng.normal(size=s) for k, s in shapes.items()}
        draws["timesteps"] = {k: rng.integers(0, 1000, 4) for k in LEVELS}
    together = method.compute_losses(teacher, student, **draws)
    single = [
        method.levels[level].compute_losses(
            teacher[level],
            student[level],
            **{name: draw[level] for name, draw in draws.items()},
        )
        for level in LEVELS
    ]
    assert set(together) == {*method.loss_weights, *method.metric_names}
    for name, value in together.items():
        expected = np.mean([float(losses[name]) for losses in single])
        np.testing.assert_allclose(float(value), expected, rtol=1e-5)


@pytest.mark.parametrize("share", [True, False])
def test_denoisers_shared_or_separate(share, rng):
    method = DiffKD(latent_channels=8, share_denoiser=share, seed=3)
    built(method, rng)
    first, second = (method.levels[level] for level in LEVELS)
    assert (first.diffusion.denoiser is second.diffusion.denoiser) == share
    assert first.diffusion.noise_adapter is not second.diffusion.noise_adapter
    assert first.student_projection is not second.student_projection
    assert first.seed != second.seed
    identities = [id(v) for v in method.trainable_variables]
    assert len(identities) == len(set(identities))
    separate = DiffKD(latent_channels=8, share_denoiser=False)
    built(separate, rng)
    saved = len(separate.trainable_variables) - len(method.trainable_variables)
    assert saved == (len(first.diffusion.denoiser.trainable_variables) if share else 0)


def test_levels_of_other_sizes_are_resized(rng):
    teacher = features(rng, (12, 16))
    student = {level: feature[:, ::2, ::2] for level, feature in teacher.items()}
    shapes = shapes_of(teacher), shapes_of(student)
    with pytest.raises(ValueError, match="Level 'P2': .*4x4 against 2x2"):
        DiffKD(latent_channels=8).build(*shapes)
    method = DiffKD(latent_channels=8, resize="bilinear")
    method.build(*shapes)
    losses = method.compute_losses(teacher, student)
    assert all(np.isfinite(float(value)) for value in losses.values())


def test_a_shared_denoiser_needs_one_width(rng):
    method = DiffKD(share_denoiser=True)
    with pytest.raises(ValueError, match="Level 'P3'.*Received: 12 and 16"):
        built(method, rng)


def test_trains_saves_and_loads(rng, tmp_path):
    keras.utils.set_random_seed(0)
    x, y = random_batch(rng)
    methods = [
        *(
            DiffKD(
                "neck",
                "neck",
                latent_channels=8,
                share_denoiser=share,
                num_inference_steps=1,
                name=name,
            )
            for name, share in (("shared", True), ("separate", False))
        ),
        FitNet("neck", "neck"),
        VkD(["neck:P2", "neck:P3"], ["neck:P2", "neck:P3"]),
        AFD(["neck:P2", "neck:P3"], ["neck:P2", "neck:P3"], key_dim=4),
    ]
    distiller = Distiller(
        detector((12, 16)), detector((8, 10)), methods, task_loss_weight=0.0
    )
    distiller.compile(keras.optimizers.Adam(0.01), cross_entropy(), jit_compile=False)
    history = distiller.fit(x, y, epochs=15, verbose=0).history
    for method in methods:
        for loss in method.loss_weights:
            values = history[f"{method.name}/{loss}"]
            assert np.mean(values[-3:]) < np.mean(values[:3]), loss

    with keras.saving.custom_object_scope({"Neck": Neck}):
        student = distiller.strip()
        assert student.count_params() == detector((8, 10)).count_params()
        for method in distiller.methods[:2]:
            config = method.get_config()
            assert DiffKD.from_config(config).get_config() == config
        weights = tmp_path / "run.weights.h5"
        distiller.save_weights(weights)
        fresh = Distiller(
            detector((12, 16)),
            detector((8, 10)),
            [type(m).from_config(m.get_config()) for m in methods],
        )
        fresh.load_weights(weights)
    for ours, theirs in zip(distiller.methods, fresh.methods, strict=True):
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_shapes_from_a_file_are_no_pyramid():
    method = FitNet()
    method.build([None, 4, 4, 12], [None, 4, 4, 8])
    assert not method.levels


@pytest.mark.parametrize(
    ("method", "student", "message"),
    [
        (
            FitNet("neck", "neck"),
            detector((8, 10), ("P3", "P4")),
            r"same levels. Received: teacher \['P2', 'P3'\], student \['P3', 'P4'\]",
        ),
        (FitNet("neck", "logits"), detector((8, 10)), "student .*one feature"),
        (DiffKD("neck:P5", "neck:P2"), detector((8, 10)), "'P5'.*'P2', 'P3'"),
        (
            AFD(["neck", "logits"], ["neck:P2", "neck:P3"]),
            detector((8, 10)),
            "single tensor.*Tap one of its entries, such as 'neck:P2'",
        ),
        (LogitsKD("neck", "neck"), detector((8, 10)), "single tensor"),
    ],
)
def test_pyramids_that_do_not_fit(method, student, message):
    with pytest.raises(ValueError, match=message):
        Distiller(detector((12, 16)), student, [method])


@pytest.mark.parametrize("taps", [("neck", ["a"]), (["a"], ["b", "c"]), ([], [])])
def test_taps_that_are_no_pairs(taps):
    with pytest.raises(ValueError, match="lists of the same length"):
        FitNet(*taps)
