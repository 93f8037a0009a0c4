"""Every row of docs/taps.md, looked up in a model of that family."""

import importlib
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_diffkd import DiffKD, Distiller, FitNet
from keras_diffkd.features.specs import list_taps, output_specs
from keras_diffkd.models import build_model, with_preprocessing

keras_hub = pytest.importorskip("keras_hub")

PAGE = (Path(__file__).parents[2] / "docs" / "taps.md").read_text(encoding="utf-8")
SIZE = 64
STRIDES = {"stride 4": 4, "stride 8": 8, "stride 16": 16, "stride 32": 32}


def table(first_column):
    """The rows of the page's table with this first column, as dictionaries."""
    lines = PAGE[PAGE.index(f"| {first_column} |") :].split("\n\n")[0].splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def documented_taps(row):
    """The layers of a row with `(stride, channels)` of each."""
    return {
        layer: (stride, int(channels))
        for column, stride in STRIDES.items()
        for layer, channels in re.findall(r"`([^`]+)` (\d+)", row[column])
    }


def documented_shape(kind, size, stride, channels):
    side = size // stride
    if kind == "vector":
        return (None, channels)
    if kind == "map":
        return (None, side, side, channels)
    extra = int(kind.removeprefix("tokens").strip(" +") or 0)
    return (None, side * side + extra, channels)


def converted(module, architecture, **changes):
    """The architecture of a preset, as KerasHub reads it when it converts weights."""
    converter = importlib.import_module(f"keras_hub.src.utils.timm.{module}")
    config = converter.convert_backbone_config({"architecture": architecture})
    return converter.backbone_cls(**config, **changes)


def resnet(architecture, **changes):
    return converted(
        "convert_resnet", architecture, image_shape=(SIZE, SIZE, 3), **changes
    )


def resnet_vd(block_type, blocks):
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[32, 32, 64],
        input_conv_kernel_sizes=[3, 3, 3],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=blocks,
        stackwise_num_strides=[1, 2, 2, 2],
        block_type=f"{block_type}_vd",
        image_shape=(SIZE, SIZE, 3),
    )


def mobilenet(architecture):
    return converted("convert_mobilenet", architecture, image_shape=(SIZE, SIZE, 3))


def efficientnet(architecture):
    return converted("convert_efficientnet", architecture, input_shape=(SIZE, SIZE, 3))


def cspnet(architecture):
    return converted("convert_cspnet", architecture, image_shape=(SIZE, SIZE, 3))


def swin(size=224, width=96, depths=(2, 2, 6, 2), window_size=7):
    return keras_hub.models.SwinTransformerBackbone(
        (size, size, 3), width, depths, (1,) * len(depths), window_size
    )


def vit(width=768, layers=6, **options):
    return keras_hub.models.ViTBackbone(
        (SIZE, SIZE, 3), 16, layers, 2, width, 8, **options
    )


def deit(width=768, layers=6):
    return keras_hub.models.DeiTBackbone((SIZE, SIZE, 3), 16, layers, 2, width, 8)


BACKBONES = {
    "resnet_18_imagenet": lambda: resnet("resnet18"),
    "resnet_50_imagenet": lambda: resnet("resnet50"),
    "resnet_v2_50_imagenet": lambda: resnet("resnetv2_50"),
    "resnet_vd_18_imagenet": lambda: resnet_vd("basic_block", [2, 2, 2, 2]),
    "resnet_vd_50_imagenet": lambda: resnet_vd("bottleneck_block", [3, 4, 6, 3]),
    "mobilenet_v3_small_100_imagenet": lambda: mobilenet("mobilenetv3_small_100"),
    "mobilenet_v3_large_100_imagenet": lambda: mobilenet("mobilenetv3_large_100"),
    "efficientnet_b0_ra_imagenet": lambda: efficientnet("efficientnet_b0"),
    "efficientnet2_rw_s_ra2_imagenet": lambda: efficientnet("efficientnet_rw_s"),
    "csp_darknet_53_ra_imagenet": lambda: cspnet("cspdarknet53"),
    "csp_resnet_50_ra_imagenet": lambda: cspnet("cspresnet50"),
    "darknet_53_imagenet": lambda: cspnet("darknet53"),
    "swin_tiny_patch4_window7_224": swin,
    "vit_base_patch16_224_imagenet": vit,
    "deit_base_distilled_patch16_224_imagenet": deit,
}


def name_of(row):
    return next(iter(row.values())).strip("`")


@pytest.mark.parametrize("row", table("preset"), ids=name_of)
def test_taps_of_keras_hub(row):
    preset = name_of(row)
    assert preset in keras_hub.models.ImageClassifier.presets
    classifier_class = getattr(keras_hub.models, row["class"].strip("`"))
    model = classifier_class(backbone=BACKBONES[preset](), num_classes=4)
    backbone = row["nested as"].strip("`")
    assert model.backbone.name == backbone

    size = model.input_shape[1]
    taps = {f"{backbone}/{k}": v for k, v in documented_taps(row).items()}
    _, features = output_specs(model, model.input, [backbone, *taps])
    shapes = {tap: tuple(features[tap].shape) for tap in taps}
    assert shapes == {
        tap: documented_shape(row["kind"], size, *rest) for tap, rest in taps.items()
    }
    # The last one is what the classifier sees.
    last = next(reversed(taps)) if "+" not in row["kind"] else next(iter(taps))
    assert tuple(features[backbone].shape) == shapes[last]


@pytest.mark.parametrize("row", table("model"), ids=name_of)
def test_taps_of_keras_applications(row):
    model = getattr(keras.applications, name_of(row))(
        weights=None, input_shape=(SIZE, SIZE, 3), classes=4
    )
    taps = documented_taps(row)
    assert taps
    _, features = output_specs(model, model.input, list(taps))
    for tap, rest in taps.items():
        assert tuple(features[tap].shape) == documented_shape(row["kind"], SIZE, *rest)


def segformer(dims=(32, 64, 160, 256), depth=2, filters=256, num_classes=4):
    encoder = keras_hub.models.MiTBackbone(
        image_shape=(SIZE, SIZE, 3),
        num_layers=4,
        hidden_dims=list(dims),
        layerwise_depths=[depth] * 4,
        layerwise_num_heads=[1, 2, 5, 8],
        layerwise_sr_ratios=[8, 4, 2, 1],
        layerwise_patch_sizes=[7, 3, 3, 3],
        layerwise_strides=[4, 2, 2, 2],
        max_drop_path_rate=0.1,
    )
    backbone = keras_hub.models.SegFormerBackbone(
        image_encoder=encoder, projection_filters=filters
    )
    return keras_hub.models.SegFormerImageSegmenter(backbone, num_classes=num_classes)


@pytest.mark.parametrize("row", table("detector or segmenter"), ids=name_of)
def test_taps_of_detectors_and_segmenters(row):
    name = name_of(row)
    if name.startswith("segformer"):
        assert name in keras_hub.models.ImageSegmenter.presets
        model = segformer()
    else:
        model = build_model(name, (SIZE, SIZE, 3), 4)
    assert type(model).__name__ == row["class"].strip("`")
    taps = documented_taps(row)
    assert len(taps) >= 2
    _, features = output_specs(model, model.input, list(taps))
    for tap, rest in taps.items():
        assert tuple(features[tap].shape) == documented_shape("map", SIZE, *rest)


def test_segformers_are_distilled(rng):
    """By the fused map and by every level of the pyramid."""
    teacher = segformer((16, 32, 40, 64), depth=1, filters=16)
    student = segformer((8, 16, 20, 32), depth=1, filters=8)
    x = rng.normal(size=(2, SIZE, SIZE, 3)).astype("float32")
    y = rng.integers(0, 4, size=(2, SIZE, SIZE))
    fused, levels = "backbone", "backbone/feature_extractor"
    methods = [
        FitNet(fused, fused, name="fused"),
        FitNet(levels, levels, name="levels"),
    ]
    distiller = Distiller(teacher, student, methods)
    distiller.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    logs = distiller.fit(x, y, verbose=0).history
    assert {"fused/distill", "levels/distill"} < set(logs)
    assert all(np.isfinite(values).all() for values in logs.values())


def small_resnet_vd():
    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[4, 64],
        input_conv_kernel_sizes=[3, 3],
        stackwise_num_filters=[64, 8],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block_vd",
        image_shape=(32, 32, 3),
    )
    return keras_hub.models.ResNetImageClassifier(backbone=backbone, num_classes=4)


def small_mobilenet():
    backbone = keras_hub.models.MobileNetBackbone(
        stackwise_expansion=[[8]],
        stackwise_num_blocks=[1],
        stackwise_num_filters=[[8]],
        stackwise_kernel_size=[[3]],
        stackwise_num_strides=[[2]],
        stackwise_se_ratio=[[0.25]],
        stackwise_activation=[["relu"]],
        stackwise_padding=[[1]],
        output_num_filters=16,
        input_num_filters=8,
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=16,
        image_shape=(32, 32, 3),
    )
    return keras_hub.models.MobileNetImageClassifier(backbone=backbone, num_classes=4)


def small_swin():
    backbone = swin(SIZE, width=8, depths=(1, 1, 1), window_size=4)
    return keras_hub.models.SwinTransformerImageClassifier(backbone, num_classes=4)


def vit_classifier(**options):
    backbone = vit(width=8, layers=1, **options)
    pooling = "token" if options.get("use_class_token", True) else "gap"
    return keras_hub.models.ViTImageClassifier(backbone, num_classes=4, pooling=pooling)


def diffkd(teacher_tap, student_tap):
    return DiffKD(teacher_tap, student_tap, latent_channels=8, num_inference_steps=1)


def distil_one_step(
    teacher, teacher_tap, student, student_tap, rng, make_method=diffkd
):
    shape = (2, *student.input_shape[1:])
    x, y = rng.normal(size=shape).astype("float32"), np.array([0, 3])
    method = make_method(teacher_tap, student_tap)
    distiller = Distiller(teacher=teacher, student=student, methods=[method])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile("sgd", loss)
    logs = distiller.fit(x, y, verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())
    assert distiller.strip() is student
    return logs


def test_maps_are_distilled_across_families(rng):
    teacher, student = small_resnet_vd(), small_mobilenet()
    logs = distil_one_step(
        teacher,
        f"{teacher.backbone.name}/stack1_block0_out",
        student,
        f"{student.backbone.name}/block_2_0",
        rng,
    )
    assert {"diffkd/distill", "diffkd/denoise"} <= set(logs)


def test_tokens_are_distilled_across_families(rng):
    teacher, student = small_swin(), vit_classifier(use_class_token=False)
    logs = distil_one_step(
        teacher,
        f"{teacher.backbone.name}/stage_2/blocks_0",
        student,
        f"{student.backbone.name}/vit_encoder",
        rng,
    )
    assert {"diffkd/distill", "diffkd/denoise"} <= set(logs)


def test_a_class_token_is_refused_and_says_what_to_do(rng):
    teacher, student = small_swin(), vit_classifier()
    with pytest.raises(ValueError, match="17 tokens.*without class"):
        distil_one_step(
            teacher, "swin_transformer_backbone", student, "vi_t_backbone", rng
        )


def deit_classifier():
    return keras_hub.models.DeiTImageClassifier(deit(8, 1), num_classes=4)


@pytest.mark.parametrize(
    ("make_model", "class_tokens"), [(vit_classifier, 1), (deit_classifier, 2)]
)
def test_patches_without_class_tokens(make_model, class_tokens, rng):
    (code,) = re.findall(r"```python\n(import keras\n.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)  # noqa: S102  It is our own page.
    model = make_model()
    student = names["with_patches"](model, class_tokens)
    x = rng.normal(size=(2, SIZE, SIZE, 3)).astype("float32")
    np.testing.assert_allclose(student(x), model(x), atol=1e-6)
    assert list_taps(student)["patches"] == (None, 16, 8)
    teacher = small_swin()
    tap = f"{teacher.backbone.name}/stage_2/blocks_0"
    distil_one_step(teacher, tap, student, "patches", rng, FitNet)


def test_a_model_behind_its_preprocessing():
    model = small_mobilenet()
    normalization = {"mean": [0.5] * 3, "std": [0.25] * 3}
    wrapped = with_preprocessing(model, lambda pixels: pixels, normalization)
    tap = f"{model.name}/{model.backbone.name}/block_2_0"
    assert list_taps(wrapped)[tap] == (None, 4, 4, 16)
