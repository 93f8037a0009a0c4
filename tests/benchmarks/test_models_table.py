import keras
import pytest
from flops import forward_flops
from models_table import COLUMNS, PAGE, SPECS, TEXT, format_count, multiply_adds, row

from keras_diffkd.models import build_model

pytestmark = pytest.mark.backend("tensorflow")
# Building all of them takes more than a minute.
SMALL = ("digits_student", "fashion_student", "resnet8x4", "wrn_16_2")


@pytest.fixture(scope="module")
def rows():
    header, rule, *lines = TEXT.read_text(encoding="utf-8").splitlines()
    ends = [0]
    for part in rule.split("  "):
        ends.append(ends[-1] + len(part) + 2)

    def cells(line):
        pairs = zip(ends, ends[1:], strict=False)
        return [line[start:end].strip() for start, end in pairs]

    assert cells(header) == COLUMNS
    return {found[0]: found for found in map(cells, lines)}


def test_every_model_is_in_the_table_and_on_the_page(rows):
    assert tuple(rows) == SPECS
    page = PAGE.read_text(encoding="utf-8")
    for name, *cells in rows.values():
        assert f"| `{name}` | {' | '.join(cells)} |" in page


@pytest.mark.parametrize("spec", SMALL)
def test_rows_are_what_the_models_are(rows, spec):
    assert row(spec) == rows[spec]


def test_multiply_adds_are_those_of_the_layers():
    model = build_model("resnet8x4", (32, 32, 3), 10)
    assert 2 * multiply_adds(model, (32, 32, 3)) == forward_flops(model)
    image = keras.Input((4, 4, 3))
    depthwise = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)(image)
    grouped = keras.layers.Conv2D(6, 1, groups=3)(depthwise)
    model = keras.Model(image, keras.layers.Dense(5)(keras.layers.Flatten()(grouped)))
    assert multiply_adds(model, (4, 4, 3)) == 4 * 6 * 9 + 4 * 6 * 2 + 24 * 5


@pytest.mark.parametrize(
    ("count", "text"),
    [(16244, "16.2 k"), (40_800_000, "40.8 M"), (126e6, "126 M"), (1.08e9, "1.08 G")],
)
def test_counts_have_three_digits(count, text):
    assert format_count(count) == text
