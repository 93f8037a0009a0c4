from helpers.every_method import METHODS, two_stages

from keras_diffkd import Distiller, FitNet
from keras_diffkd.preflight import COLUMNS, feature_rows

EXPECTED = {
    "kd": "nothing",
    "dist": "nothing",
    "dkd": "nothing",
    "lskd": "nothing",
    "wttm": "nothing",
    "keras": "nothing",
    "fitnet": "1x1 convolution 8 to 16",
    "vkd": "mean over space, orthogonal projection 8 to 16",
    "afd": "attention over 2 x 2 pairs, pooled to the teacher's grids",
    "rtk": "attention over 2 x 2 pairs, pooled to the teacher's grids",
    "kdiffusion": "1x1 convolution 8 to 16",
    "dskd": "1x1 convolution 8 to 16",
    "diffkd": "1x1 convolution 8 to 8; autoencoder 16 to 8",
    "diffkd_logits": "dense layer 10 to 10",
}


def test_every_method_says_what_bridges_its_features():
    for name, make in METHODS.items():
        [row] = feature_rows(Distiller(two_stages(16), two_stages(8), [make()]))
        assert len(row) == len(COLUMNS)
        assert row[-1] == EXPECTED[name], name


def test_levels_and_sizes_are_rows_of_their_own():
    taps = ["stage1", "features"]
    rows = feature_rows(
        Distiller(
            two_stages(16),
            two_stages(8),
            [
                FitNet(taps, taps, name="both"),
                FitNet("features", "stage1", resize="bilinear"),
            ],
        )
    )
    assert rows == [
        ("both", "stage1", "8x8x8", "stage1", "8x8x4", "1x1 convolution 4 to 8"),
        ("both", "features", "4x4x16", "features", "4x4x8", "1x1 convolution 8 to 16"),
        (
            "fitnet",
            "features",
            "4x4x16",
            "stage1",
            "8x8x4",
            "1x1 convolution 4 to 16, bilinear 8x8 to 4x4",
        ),
    ]
