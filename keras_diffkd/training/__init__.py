"""The training step: the only folder that knows the backend."""

from keras_diffkd.training.fused_batch_norm import fused_batch_normalization

__all__ = ["fused_batch_normalization"]
