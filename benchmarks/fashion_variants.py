"""Variants of DiffKD for short trainings, which `fashion.py` compares with it."""

import contextlib

import keras
from digits_methods import both

from keras_diffkd import DiffKD

# A fifth of the training with 5,000 labeled images.
RAMP_STEPS = 195
PRETRAINING_STEPS = 312


class SeparateDenoiser(DiffKD):
    """A DiffKD whose denoiser learns from the diffusion loss alone.

    The abstract of the paper says that it is trained on the teacher's features. In the
    authors' code, the distance trains it as well.
    """

    def _refined(self, projected, noise, training):
        diffusion = self.diffusion
        x, gamma = diffusion._mixed(projected, noise, training)

        def predict(x, timesteps):
            denoiser = diffusion.denoiser
            weights = map(keras.ops.stop_gradient, denoiser.trainable_variables)
            predicted, _ = denoiser.stateless_call(
                list(weights),
                denoiser.non_trainable_variables,
                x,
                timesteps,
                training=training,
            )
            return predicted

        x = diffusion.sampler.sample(predict, x)
        return self.output_bn(self.output_conv(x), training=training), gamma


def separate(weight):
    """DiffKD on features and logits with denoisers that the distance does not train."""
    return [SeparateDenoiser.from_config(m.get_config()) for m in both(weight)]


def of_gamma(gamma):
    """Returns a function from the weight to DiffKD with the same γ for all samples."""

    def methods(weight):
        both_of_them = both(weight)
        for method in both_of_them:
            method.diffusion.gamma = gamma
        return both_of_them

    return methods


def ramped(weight):
    """DiffKD on features and logits whose weight rises from 0."""
    return both(
        keras.optimizers.schedules.PolynomialDecay(
            0.0, RAMP_STEPS, end_learning_rate=weight
        )
    )


@contextlib.contextmanager
def diffusion_alone(distiller):
    """Lets only autoencoders and denoisers learn, from the teacher's features.

    Args:
        distiller: A `Distiller` with `DiffKD` methods. Compile it inside, and again
            outside.
    """
    weights = [method.distill_weight for method in distiller.methods]
    distiller.student.trainable = False
    distiller.task_loss_weight = 0.0
    for method in distiller.methods:
        method.distill_weight = 0.0
    yield
    distiller.student.trainable = True
    distiller.task_loss_weight = 1.0
    for method, weight in zip(distiller.methods, weights, strict=True):
        method.distill_weight = weight
