"""The methods that `fashion.py` compares, and the ablations.

Every method is a function from the weight of its matching loss, a number or
"balanced", to the methods of a `Distiller`, as in `digits_methods.py`.
"""

import digits_methods
from comparison import ALONE
from digits_methods import DIFFKD, KD_FEATURES, both, kd_features
from fashion_variants import of_gamma, ramped, separate

from keras_diffkd import AFD, RTK, KDiffusion

# The student's last convolution, which KDiffusion re-parameterizes.
CONVOLUTION = "stage3_block1_conv2"
# The teacher's layers whose outputs are stored.
STAGES = ["stage2", "features"]


def branches_alone(weight):
    """KDiffusion's branches, which learn nothing from the teacher."""
    del weight
    return [
        KDiffusion("features", CONVOLUTION, distill_weight=0.0, guidance_weight=0.0)
    ]


METHODS = {
    **digits_methods.METHODS,
    "AFD": lambda weight: [AFD(STAGES, STAGES, weight=weight)],
    "RTK": lambda weight: [RTK(STAGES, STAGES, k=1, weight=weight)],
    "KDiffusion": lambda weight: [
        KDiffusion("features", CONVOLUTION, distill_weight=weight)
    ],
    KD_FEATURES: kd_features,
}
# Trained first, seed by seed.
MAIN = [
    ALONE,
    "KD",
    "FitNet",
    DIFFKD,
    KD_FEATURES,
    "DiffKD (features)",
    "DiffKD (logits)",
]
# Measures the worth of denoising: both methods at the same weights.
SAME_WEIGHT_METHODS = ["FitNet", "DiffKD (features)"]
SAME_WEIGHTS = (3.0, 10.0, 30.0)
# Noise that does not adapt; without it, γ is 1.
GAMMAS = (0.9, 0.5)
BRANCHES = "KDiffusion, branches alone"
PRETRAINED = f"{DIFFKD}, diffusion model trained first"
# Name: the methods, and the method whose tuned weight they take.
VARIANTS = {
    BRANCHES: (branches_alone, None),
    **{
        f"{DIFFKD}, {name}": (digits_methods.ABLATIONS[name], DIFFKD)
        for name in ("N = 1", "N = 2", "no adaptive noise")
    },
    PRETRAINED: (both, DIFFKD),
    f"{DIFFKD}, denoiser apart": (separate, DIFFKD),
    f"{DIFFKD}, rising weight": (ramped, DIFFKD),
    **{f"{DIFFKD}, γ = {gamma:g}": (of_gamma(gamma), DIFFKD) for gamma in GAMMAS},
}
