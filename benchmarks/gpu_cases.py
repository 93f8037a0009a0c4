"""What `gpu.py` measures and trains, in the order of importance."""

# The teacher and the student alone, the rows that others are compared with.
FLOOR = "plain"
STEPS = {
    FLOOR: "teacher forward, student forward and backward",
    "kd": "KD, temperature 4",
    "features": "DiffKD features",
    "both": "DiffKD features + logits",
}
PAIRS = {
    # Pair of `step_cases.py` and batch size.
    "WRN-40-2 to WRN-40-1, 32x32, batch 128": ("cifar", 128),
    "WRN-40-2 to WRN-40-1, 32x32, batch 1024": ("cifar", 1024),
    "ResNet-50 to MobileNetV1, 224x224, batch 128": ("imagenet", 128),
}


def _wave(dtype):
    return [
        {
            "title": title,
            "pair": pair,
            "batch_size": batch,
            "dtype": dtype,
            "case": case,
            "arguments": {},
        }
        for title, (pair, batch) in PAIRS.items()
        for case in STEPS
    ]


# The cases of a wave are in the memory of the GPU at the same time.
WAVES = [_wave("float32"), _wave("mixed_bfloat16")]
# One of each kind of thing that can fail.
SMOKE_WAVES = [[WAVES[0][0], WAVES[0][-1], WAVES[1][3]]]
QUICK_WAVES = [
    [
        {
            "title": "digits_teacher to digits_student, 8x8, batch 4",
            "pair": "digits",
            "batch_size": 4,
            "dtype": "float32",
            "case": case,
            "arguments": {"num_inference_steps": 1, "latent_channels": 8},
        }
        for case in (FLOOR, "features")
    ]
]

# Rows of Fashion-MNIST: name, kind of method, weight of the matching losses.
ALONE = "student alone"
ROWS = {
    ALONE: ("alone", None),
    "KD": ("kd", 1.0),
    "DiffKD features + logits, weight 5": ("both", 5.0),
    "KD + DiffKD features, weight 10": ("kd_features", 10.0),
    "DiffKD features, weight 30": ("features", 30.0),
    "FitNet, weight 30": ("fitnet", 30.0),
    "DiffKD features + logits, weight 1": ("both", 1.0),
    "DiffKD features, weight 1": ("features", 1.0),
    "FitNet, weight 1": ("fitnet", 1.0),
    "DIST": ("dist", 1.0),
    "DKD": ("dkd", 1.0),
    "VkD": ("vkd", 1.0),
}
FASHION = [
    {
        "title": "5,000 labeled images, 500 of each class, 25 epochs",
        "per_class": 500,
        "epochs": 25,
        "teacher_epochs": 6,
        "rows": list(ROWS),
    },
    {
        "title": "all 60,000 images, 8 epochs",
        "per_class": None,
        "epochs": 8,
        "teacher_epochs": 6,
        "rows": list(ROWS)[:4],
    },
]
QUICK_FASHION = [
    {
        "title": "quick",
        "per_class": None,
        "epochs": 1,
        "teacher_epochs": 1,
        "rows": [ALONE, "KD"],
    }
]
