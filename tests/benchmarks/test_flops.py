import keras
from flops import forward_flops, step_flops
from helpers.small_models import small_cnn

from keras_diffkd import DiffKD, Distiller, FitNet
from keras_diffkd.models import build_model


def test_convolutions_and_dense_layers_are_counted():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.layers.Flatten()(x)
    model = keras.Model(image, keras.layers.Dense(5)(x))
    convolution = 4 * 4 * (3 * 3 * 3 * 4)
    depthwise = 4 * 4 * (3 * 3 * 4)
    assert forward_flops(model) == 2 * (convolution + depthwise + 4 * 4 * 4 * 5)


def test_known_network():
    # ResNet-50 is known for 4.1 billion multiplications and additions.
    model = build_model("resnet50", (224, 224, 3), 1000)
    assert 4.0e9 < forward_flops(model) / 2 < 4.2e9


def test_the_denoiser_counts_once_for_every_step():
    teacher, student = small_cnn(12), small_cnn(8)
    models = forward_flops(teacher) + 3 * forward_flops(student)
    assert step_flops(teacher, student, [], 32) == 32 * models

    fitnet = Distiller(teacher, student, [FitNet("features", "features")]).methods
    projection = 2 * 4 * 4 * 8 * 12
    assert step_flops(teacher, student, fitnet, 32) == 32 * (models + 3 * projection)

    costs = []
    for steps in (1, 2, 3):
        method = DiffKD("features", "features", num_inference_steps=steps)
        methods = Distiller(teacher, student, [method]).methods
        costs.append(step_flops(teacher, student, methods, 1))
    bottleneck = 12 * 3 + 9 * 3 * 3 + 3 * 12
    denoiser = 2 * 4 * 4 * (2 * bottleneck + 12 * 12)
    assert costs[1] - costs[0] == costs[2] - costs[1] == 3 * denoiser
