"""Holds the ranges of a student while it trains."""

import functools

import keras

from keras_diffkd.quantization.ranges import step_of
from keras_diffkd.training import backend
from keras_diffkd.training.fake_quantization import learned_fake_quantize


@keras.saving.register_keras_serializable(package="keras_diffkd")
class RangeState(keras.layers.Layer):
    """Holds the ranges of a student as variables, and rounds tensors to them.

    A range begins as that of the first batch. A range of two equal numbers has not
    begun.

    Args:
        sites: List of `Site`s.
        learned: Boolean, whether gradients train the ranges.
        momentum: Float, the share of a moving range that stays in each step.
        name: Optional name of the layer.
    """

    def __init__(self, sites, learned, momentum, name="quantization_ranges"):
        super().__init__(name=name, dtype="float32")
        self._momentum = momentum
        self._learned = learned
        self._sites = list(sites)
        self._variables = {
            site.name: self.add_weight(
                shape=(2,),
                initializer="zeros",
                dtype="float32",
                trainable=learned,
                autocast=False,
                name=site.name.replace("/", "_").replace(":", "_"),
            )
            for site in self._sites
            if site.fixed is None
        }
        self.built = True

    def rounded(self, site, tensor):
        """Returns a float32 tensor rounded to the values of a site."""
        return self._rounded(site, tensor, self._range(site))

    def step(self, site):
        """Returns the difference of two neighboring values of a site."""
        return step_of(*self._range(site))

    def rounding_in_training(self, is_moving):
        """Returns a function like `rounded` for one forward pass of training.

        Args:
            is_moving: Boolean, whether moving ranges follow the batch.
        """
        seen = {}

        def rounded(site, tensor):
            if site.fixed is not None or not (is_moving or self._learned):
                return self.rounded(site, tensor)
            extremes = seen.setdefault(site.name, [])
            extremes.append(_extremes(site, tensor))
            new = self._moved(site, extremes)
            # The last tensor of a site has seen the others.
            if len(extremes) == site.count:
                self._variables[site.name].assign(new)
                extremes.clear()
                return self.rounded(site, tensor)
            return self._rounded(site, tensor, self._with_zero(site, new))

        return rounded

    def values(self):
        """Returns a dict from the name of each site to `(minimum, maximum)`."""
        values = {}
        for site in self._sites:
            pair = self._range(site)
            values[site.name] = tuple(
                float(keras.ops.convert_to_numpy(value)) for value in pair
            )
        return values

    def have_begun(self):
        """Returns whether a batch has set the ranges."""
        return any(
            minimum != maximum
            for site, (minimum, maximum) in zip(
                self._sites, self.values().values(), strict=True
            )
            if site.fixed is None
        )

    def _range(self, site):
        """Returns `(minimum, maximum)` of a site."""
        if site.fixed is not None:
            return site.fixed
        return self._with_zero(site, self._variables[site.name].value)

    def _with_zero(self, site, pair):
        """Returns a range that contains 0, which a learned range may not."""
        minimum, maximum = pair[0], pair[1]
        if self._learned:
            minimum = keras.ops.minimum(minimum, 0.0)
            maximum = keras.ops.maximum(maximum, 0.0)
        return 0.0 if site.is_positive else minimum, maximum

    def _moved(self, site, extremes):
        """Returns the next range of a site, after tensors of this step."""
        old = self._variables[site.name].value
        new = keras.ops.stack(
            [
                functools.reduce(keras.ops.minimum, [pair[0] for pair in extremes]),
                functools.reduce(keras.ops.maximum, [pair[1] for pair in extremes]),
            ]
        )
        moved = old if self._learned else new + self._momentum * (old - new)
        has_begun = keras.ops.not_equal(old[0], old[1])
        return keras.ops.where(has_begun, moved, new)

    def _rounded(self, site, tensor, pair):
        if self._learned and site.fixed is None:
            return learned_fake_quantize(tensor, *pair)
        return backend.fake_quantize(tensor, *pair)


def _extremes(site, tensor):
    """Returns the minimum and maximum of a tensor and 0."""
    tensor = keras.ops.stop_gradient(tensor)
    zero = keras.ops.zeros((), "float32")
    minimum = zero
    if not site.is_positive:
        minimum = keras.ops.minimum(keras.ops.min(tensor), zero)
    return minimum, keras.ops.maximum(keras.ops.max(tensor), zero)
