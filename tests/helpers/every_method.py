"""One of every method, for small models with two stages."""

import keras

from keras_diffkd import (
    AFD,
    DIST,
    DKD,
    DSKD,
    RTK,
    TTM,
    DiffKD,
    FitNet,
    KDiffusion,
    LogitsKD,
    VkD,
)
from keras_diffkd.interop.keras_distillation import KerasDistillation

STAGES = ["stage1", "features"]

# One method samples in two steps; the others in one, which is traced faster.
METHODS = {
    "kd": lambda: LogitsKD(),
    "dist": lambda: DIST(),
    "dkd": lambda: DKD(),
    "lskd": lambda: LogitsKD(temperature=2.0, standardize_logits=True, name="lskd"),
    "wttm": lambda: TTM(temperature=2.0, weighted=True, name="wttm"),
    "fitnet": lambda: FitNet("features", "features"),
    "vkd": lambda: VkD("features", "features"),
    "afd": lambda: AFD(STAGES, STAGES, key_dim=8),
    "rtk": lambda: RTK(STAGES, STAGES, k=1, key_dim=8),
    "kdiffusion": lambda: KDiffusion("features", "conv", num_branches=2),
    "dskd": lambda: DSKD("features", "features", num_inference_steps=1),
    "diffkd": lambda: DiffKD(
        "features", "features", latent_channels=8, num_inference_steps=2
    ),
    "diffkd_logits": lambda: DiffKD(
        distance="kl", num_inference_steps=1, name="diffkd_logits"
    ),
    "keras": lambda: KerasDistillation(
        keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence())
    ),
}


def two_stages(width):
    """A classifier of 8x8 images with taps at 8x8 and 4x4."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(width // 2, 3, padding="same")(image)
    x = keras.layers.ReLU(name="stage1")(x)
    x = keras.layers.Conv2D(
        width, 3, strides=2, padding="same", use_bias=False, name="conv"
    )(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(name="features")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(10, name="logits", dtype="float32")(x)
    return keras.Model(image, logits)
