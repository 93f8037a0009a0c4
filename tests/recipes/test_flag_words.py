import pytest

from keras_diffkd.recipes import distill, export  # noqa: F401  They define the flags.
from keras_diffkd.recipes.flag_words import in_flags


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "`temperature` must be above 0. Received: temperature=0.0",
            "--temperature must be above 0. Received: --temperature=0.0",
        ),
        ("`k` must be at least 1. Received: k=0.", "--representative_keys must be at "
         "least 1. Received: --representative_keys=0."),
        ("Pass replace=True (--replace) to", "Pass --replace to"),
        ("with formats=['onnx', 'tflite'] (--formats=onnx,tflite)",
         "with --formats=onnx,tflite"),
        ("Pass `standardize_logits=False`, or", "Pass --nostandardize_logits, or"),
        ('Pass resize="bilinear".', "Pass --resize=bilinear."),
        ("Received: image_size=None", "Received: --image_size unset"),
    ],
)  # fmt: skip
def test_arguments_become_flags(text, expected):
    assert in_flags(text, "diffkd-distill") == expected


@pytest.mark.parametrize(
    "text",
    [
        "--epochs must be positive. Received: --epochs=0",
        "flag --epochs=many: invalid literal",
        "runs/epochs=3/student.keras is missing",
        "call `model.fit(epochs=3)`, or `keras.Model`",
        "Received: y=None",
        "the flags.txt of this run sets --teacher",
    ],
)
def test_everything_else_stays(text):
    assert in_flags(text, "diffkd-distill") == text


def test_a_command_may_have_a_name_of_its_own():
    text = "Received: batch_size=0"
    assert in_flags(text, "diffkd-export") == "Received: --batch=0"
    assert in_flags(text, "diffkd-distill") == "Received: --batch_size=0"
