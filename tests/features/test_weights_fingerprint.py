import keras
import numpy as np

from keras_diffkd.features.weights_fingerprint import hash_weights


def network(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )


def test_weights_tell_models_apart_and_names_do_not():
    model = network()
    assert hash_weights(network()) == hash_weights(model)
    assert hash_weights(network(seed=1)) != hash_weights(model)
    moved = network()
    moved.layers[0].moving_mean.assign(np.full(4, 0.1))
    assert hash_weights(moved) != hash_weights(model)


def test_a_model_is_the_same_when_it_has_drawn_and_been_saved(tmp_path):
    model = network()
    before = hash_weights(model)
    model(np.ones((2, 4)), training=True)
    model.layers[0].set_weights(network().layers[0].get_weights())
    assert hash_weights(model) == before
    model.save(tmp_path / "model.keras")
    assert hash_weights(keras.models.load_model(tmp_path / "model.keras")) == before
