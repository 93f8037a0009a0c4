"""The flags of diffkd-export become arguments of `export_student`."""

import pytest

from keras_diffkd.recipes import export_flags


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], None), (["--batch=dynamic"], None), (["--batch=1"], 1), (["--batch=16"], 16)],
)
def test_batch_sizes(arguments, expected, parse):
    parse(*arguments)
    assert export_flags.options()["batch_size"] == expected


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "any", ""])
def test_what_is_no_batch_size(text, parse):
    parse(f"--batch={text}")
    with pytest.raises(ValueError, match=f"or a positive number.*--batch={text}$"):
        export_flags.options()
