import pytest

from keras_diffkd.recipes import export


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], None), (["--batch=dynamic"], None), (["--batch=1"], 1), (["--batch=16"], 16)],
)
def test_batch_sizes(arguments, expected, parse):
    parse(*arguments)
    assert export.options()["batch_size"] == expected


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "any", ""])
def test_what_is_no_batch_size(text, parse):
    parse(f"--batch={text}")
    with pytest.raises(ValueError, match=f"dynamic, or a number.*--batch={text}$"):
        export.options()
