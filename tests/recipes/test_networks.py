import keras
import pytest

from keras_diffkd.recipes.tasks.classification import check_outputs_logits


def test_a_student_that_ends_in_softmax_is_refused():
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3, activation="softmax")]
    )
    with pytest.raises(ValueError, match="ends in softmax"):
        check_outputs_logits(model, "--student")
