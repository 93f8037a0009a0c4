"""The methods that `digits.py` compares, and the variants of DiffKD.

Every method is a function from one number to the methods of a `Distiller`: the weight
of its matching loss, which is what is tuned. All else is at its default, or at the
setting of its paper.
"""

from comparison import ALONE

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

DIFFKD = "DiffKD (features + logits)"
KD_FEATURES = "KD + DiffKD (features)"
BALANCED = "balanced"
LATENT_CHANNELS = 32
STAGES = ["stage1", "features"]
# The student's last convolution, which KDiffusion re-parameterizes.
CONVOLUTION = "stage2_block2_conv"


def features(weight, **arguments):
    """DiffKD on the last feature map."""
    arguments = {"latent_channels": LATENT_CHANNELS, **arguments}
    return DiffKD(
        "features", "features", distill_weight=weight, name="features", **arguments
    )


def logits(weight, **arguments):
    """DiffKD on the logits."""
    return DiffKD(distance="kl", distill_weight=weight, name="logits", **arguments)


def both(weight, latent_channels=LATENT_CHANNELS, **arguments):
    """DiffKD on the last feature map and on the logits: the authors' best."""
    return [
        features(weight, latent_channels=latent_channels, **arguments),
        logits(weight, **arguments),
    ]


def kd_features(weight):
    """KD and DiffKD on the last feature map; a number is DiffKD's weight alone."""
    kd_weight = BALANCED if weight == BALANCED else 1.0
    return [LogitsKD(weight=kd_weight), features(weight)]


METHODS = {
    ALONE: lambda weight: [],
    "KD": lambda weight: [LogitsKD(weight=weight)],
    "DIST": lambda weight: [DIST(weight=weight)],
    "DKD": lambda weight: [DKD(weight=weight)],
    "KD, standardized logits": lambda weight: [
        LogitsKD(temperature=2.0, standardize_logits=True, weight=weight)
    ],
    "WTTM": lambda weight: [TTM(weighted=True, weight=weight)],
    "FitNet": lambda weight: [FitNet("features", "features", weight=weight)],
    "VkD": lambda weight: [VkD("features", "features", weight=weight)],
    "AFD": lambda weight: [AFD(STAGES, STAGES, weight=weight)],
    "RTK": lambda weight: [RTK(STAGES, STAGES, k=1, weight=weight)],
    "KDiffusion": lambda weight: [
        KDiffusion("features", CONVOLUTION, distill_weight=weight)
    ],
    "DSKD": lambda weight: [DSKD("features", "features", distill_weight=weight)],
    "DiffKD (features)": lambda weight: [features(weight)],
    "DiffKD (logits)": lambda weight: [logits(weight)],
    DIFFKD: both,
}
# What the paper varies, around DiffKD on features and logits with its tuned setting.
ABLATIONS = {
    "no adaptive noise": lambda weight: both(weight, adapt_noise=False),
    "N = 1": lambda weight: both(weight, num_inference_steps=1),
    "N = 2": lambda weight: both(weight, num_inference_steps=2),
    "N = 10": lambda weight: both(weight, num_inference_steps=10),
    "no autoencoder": lambda weight: both(weight, latent_channels=None),
    "8 latent channels": lambda weight: both(weight, latent_channels=8),
    "16 latent channels": lambda weight: both(weight, latent_channels=16),
    "64 latent channels": lambda weight: both(weight, latent_channels=64),
}
