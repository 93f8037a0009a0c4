"""A small diffusion model of features, usable without distillation."""

from keras_diffkd.diffusion.autoencoder import LinearAutoencoder
from keras_diffkd.diffusion.denoiser import Denoiser
from keras_diffkd.diffusion.feature_diffusion import FeatureDiffusion
from keras_diffkd.diffusion.guidance import guided
from keras_diffkd.diffusion.noise_adapter import NoiseAdapter
from keras_diffkd.diffusion.sampler import DDIMSampler
from keras_diffkd.diffusion.schedule import NoiseSchedule

__all__ = [
    "DDIMSampler",
    "Denoiser",
    "FeatureDiffusion",
    "LinearAutoencoder",
    "NoiseAdapter",
    "NoiseSchedule",
    "guided",
]
