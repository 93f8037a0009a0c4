"""Sequences, and channels that come first, under `fit` and in every method."""

import keras
import numpy as np
import pytest

from keras_diffkd import AFD, DIST, DKD, TTM, DiffKD, Distiller, FitNet, LogitsKD, VkD

layers = keras.layers


def classifier(width, timesteps=16):
    """A convolution over time; 16 timesteps are no image of 4x4."""
    series = keras.Input((timesteps, 3))
    x = layers.Conv1D(width, 3, padding="same")(series)
    x = layers.ReLU(name="first")(x)
    x = layers.Conv1D(width, 3, padding="same")(x)
    x = layers.ReLU(name="features")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(series, layers.Dense(4, name="logits")(x))


def tagger(width):
    """One class for every timestep, of any number of them."""
    series = keras.Input((None, 3))
    x = layers.LSTM(width, return_sequences=True, name="features")(series)
    return keras.Model(series, layers.Dense(4, name="logits")(x))


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def distil(teacher, student, methods, x, y):
    distiller = Distiller(teacher, student, methods)
    distiller.compile(keras.optimizers.Adam(0.01), cross_entropy(), jit_compile=False)
    history = distiller.fit(x, y, epochs=2, verbose=0, batch_size=8).history
    assert all(np.isfinite(values).all() for values in history.values())
    return distiller


TAPS = ["first", "features"]
OF_SEQUENCES = {
    "diffkd": lambda: DiffKD(
        "features", "features", latent_channels=8, num_inference_steps=1
    ),
    "fitnet": lambda: FitNet("features", "features"),
    "vkd": lambda: VkD("features", "features"),
    "afd": lambda: AFD(TAPS, TAPS, key_dim=4),
}


def test_every_method_of_features_takes_sequences(rng, tmp_path):
    x, y = rng.normal(size=(8, 16, 3)).astype("float32"), rng.integers(0, 4, 8)
    methods = [make() for make in OF_SEQUENCES.values()]
    distiller = distil(classifier(12), classifier(6), methods, x, y)
    kernels = [v.shape for v in distiller.methods[0].variables if "spatial" in v.path]
    assert (3, 2, 2) in [tuple(shape) for shape in kernels]
    distiller.save(tmp_path / "run.keras")
    loaded = keras.saving.load_model(tmp_path / "run.keras")
    for ours, theirs in zip(distiller.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert loaded.methods[0].maps.kinds == ("sequence", "sequence")


def test_sequences_of_any_length(rng):
    x, y = rng.normal(size=(8, 5, 3)).astype("float32"), rng.integers(0, 4, (8, 5))
    methods = [
        DiffKD("features", "features", num_inference_steps=2),
        FitNet("features", "features"),
        LogitsKD(),
        DIST(),
        DKD(),
        TTM(),
    ]
    distiller = distil(tagger(8), tagger(8), methods, x, y)
    other = distiller.evaluate(x[:, :3], y[:, :3], verbose=0)
    assert np.isfinite(other).all()


def test_fitnet_compares_step_by_step(rng):
    method = FitNet("features", "features")
    distiller = Distiller(classifier(5, 20), classifier(3, 20), [method])
    teacher, student = (rng.normal(size=(2, 20, n)).astype("float32") for n in (5, 3))
    kernel, bias = (np.array(w) for w in method.projection.weights)
    np.testing.assert_allclose(
        method.compute_losses(teacher, student)["distill"],
        np.mean((student @ kernel + bias - teacher) ** 2),
        rtol=1e-5,
    )
    assert distiller.feature_shapes == [((None, 20, 5), (None, 20, 3))]


def test_resize_over_time_is_linear():
    method = FitNet(resize="bilinear", feature_kind="sequence")
    method.build((None, 8, 1), (None, 4, 1))
    method.projection.set_weights([np.ones((1, 1)), np.zeros(1)])
    student = np.array([0.0, 4.0, 8.0, 12.0], "float32").reshape(1, 4, 1)
    # Every second value of twice as many lies a quarter of a step from the old ones.
    expected = [0, 1, 3, 5, 7, 9, 11, 12]
    teacher = np.array(expected, "float32").reshape(1, 8, 1)
    loss = method.compute_losses(teacher, student)["distill"]
    assert float(loss) == pytest.approx(0, abs=1e-10)


def test_positions_of_untold_features_of_one_length(rng):
    # Class tokens included: what they are need not be known.
    method = FitNet()
    method.build((None, 17, 6), (None, 17, 3))
    with pytest.raises(ValueError, match="length: 17 against 16"):
        FitNet().build((None, 17, 6), (None, 16, 3))


def flat(width):
    series = keras.Input((16, 3))
    x = layers.Dense(width, name="features")(series)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(series, layers.Dense(4)(x))


def test_what_nothing_tells_is_asked_for():
    with pytest.raises(ValueError, match='Pass feature_kind="sequence" or'):
        Distiller(flat(8), flat(8), [DiffKD("features", "features")])
    method = DiffKD("features", "features", feature_kind="sequence")
    Distiller(flat(8), flat(8), [method])
    assert method.diffusion.denoiser.rank == 1
    method = DiffKD("features", "features", feature_kind="tokens")
    Distiller(flat(8), flat(8), [method])
    assert method.diffusion.denoiser.rank == 2


def test_afd_of_sequences_and_maps_is_refused():
    with pytest.raises(ValueError, match="no positions in common"):
        AFD(["a"], ["b"], feature_kind="sequence").build(
            [(None, 4, 4, 6)], [(None, 16, 3)]
        )


@pytest.mark.parametrize("student", [(None, 7, 4), (None, 4)])
def test_logits_of_other_positions_are_refused(student):
    with pytest.raises(ValueError, match="same positions"):
        LogitsKD().build((None, 5, 4), student)


def pooled_first(width, data_format):
    """The same computation with its channels in either place."""
    first = data_format == "channels_first"
    image = keras.Input((8, 8, width))
    x = layers.Permute((3, 1, 2))(image) if first else image
    x = layers.AveragePooling2D(2, data_format=data_format)(x)
    x = layers.BatchNormalization(axis=1 if first else -1)(x)
    x = layers.ReLU(name="features")(x)
    x = layers.GlobalAveragePooling2D(data_format=data_format)(x)
    return keras.Model(image, layers.Dense(4)(x))


def test_channels_first_features_are_those_of_channels_last(rng):
    x = rng.normal(size=(4, 8, 8, 6)).astype("float32")
    features = {}
    for data_format in ("channels_first", "channels_last"):
        distiller = Distiller(
            pooled_first(6, data_format),
            pooled_first(6, "channels_last"),
            [FitNet("features", "features")],
        )
        assert distiller.feature_shapes[0][0] == (None, 4, 4, 6)
        _, [(features[data_format], _)] = distiller.tapped_features(x, training=False)
    np.testing.assert_allclose(*map(np.array, features.values()), rtol=1e-5, atol=1e-6)


def test_maps_of_three_dimensions(rng):
    for method in (FitNet(), DiffKD(num_inference_steps=1)):
        method.build((None, 2, 3, 4, 8), (None, 2, 3, 4, 5))
        pair = (rng.normal(size=(2, 2, 3, 4, n)).astype("float32") for n in (8, 5))
        assert np.isfinite(float(method.compute_losses(*pair)["distill"]))
    with pytest.raises(ValueError, match="2x3x4 against 2x3x5"):
        FitNet(resize="bilinear").build((None, 2, 3, 4, 8), (None, 2, 3, 5, 8))
