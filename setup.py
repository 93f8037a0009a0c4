"""Packaging of keras-diffkd.

`export/` and `recipes/` live at the top of the repository and are installed as
`keras_diffkd.export` and `keras_diffkd.recipes`, so that nothing with such a
general name lands in a user's site-packages. The entry points of the commands are
the package `diffkd_commands`: they start before anything of `keras_diffkd` is imported.
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
MAPPED = {"keras_diffkd.export": "export", "keras_diffkd.recipes": "recipes"}
ENTRY_POINTS = {"diffkd_commands": "recipes/entry_points"}

packages = [*ENTRY_POINTS, *find_packages(include=["keras_diffkd", "keras_diffkd.*"])]
for name, folder in MAPPED.items():
    packages.append(name)
    packages += [
        f"{name}.{sub}" for sub in find_packages(folder, exclude=["entry_points"])
    ]

COMMANDS = {
    "diffkd-train-teacher": "train_teacher",
    "diffkd-cache-teacher": "cache_teacher",
    "diffkd-distill": "distill",
    "diffkd-evaluate": "evaluate",
    "diffkd-export": "export",
    "diffkd-verify": "verify",
}

export = ["onnx>=1.17", "tf2onnx>=1.17", "onnxruntime>=1.20", "ai-edge-litert>=2.0"]
hub = ["keras-hub>=0.32", "pycocotools>=2.0.11"]
plot = ["jinja2>=3.1", "matplotlib>=3.9", "scipy>=1.13"]
# KerasTuner imports tensorboard on TensorFlow, which does not bring it.
tensorboard = ["tensorboard>=2.20"]
tune = ["keras-tuner>=1.4.8", *tensorboard]

setup(
    name="keras-diffkd",
    version="0.1.0",
    description="Diffusion-based knowledge distillation for Keras 3, "
    "from teacher to a verified SavedModel, ONNX or TFLite student",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=packages,
    package_dir={"keras_diffkd": "keras_diffkd", **MAPPED, **ENTRY_POINTS},
    package_data={
        "diffkd_commands": ["models.txt"],
        "keras_diffkd.recipes": ["experiments/*.flags"],
        "keras_diffkd.recipes.report": ["templates/*"],
        "keras_diffkd.export.web": ["static/*"],
    },
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.8",
        # tensorflow-datasets imports it without asking for it.
        "importlib_resources>=6.0",
        "h5py>=3.10",
        # Older ones build what they should refuse from model files.
        "keras>=3.15.1",
        "numpy>=2.0",
        "pillow>=11.0",
        "scikit-learn>=1.5",
        "tensorflow>=2.21",
        "tensorflow-datasets>=4.9.10",
    ],
    extras_require={
        "export": export,
        "hub": hub,
        "plot": plot,
        "tensorboard": tensorboard,
        "tune": tune,
        "jax": ["jax>=0.10"],
        "torch": ["torch>=2.13"],
        "cuda": ["tensorflow[and-cuda]>=2.21"],
        "docs": ["mkdocstrings-python>=2.0", "zensical>=0.0.73"],
        "dev": [
            *export,
            *hub,
            *plot,
            *tune,
            "hypothesis>=6.100",
            "pytest>=8",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "selenium>=4.20",
        ],
    },
    entry_points={
        "console_scripts": [
            f"{command} = diffkd_commands:{function}"
            for command, function in COMMANDS.items()
        ]
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
