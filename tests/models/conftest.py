import math

import pytest


@pytest.fixture
def count_trainable():
    """Counts parameters as the literature does: without moving statistics."""

    def count_trainable(model):
        return sum(math.prod(weight.shape) for weight in model.trainable_weights)

    return count_trainable
