"""Trains and runs students as int8 runtimes compute them."""

from keras_diffkd.quantization.aware import QuantizationAware
from keras_diffkd.quantization.ranges import QuantizationRanges
from keras_diffkd.quantization.simulated_student import SimulatedStudent

__all__ = ["QuantizationAware", "QuantizationRanges", "SimulatedStudent"]
