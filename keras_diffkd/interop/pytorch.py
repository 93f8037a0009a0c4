"""Reads weights of the DiffKD authors' PyTorch module."""

import keras
import numpy as np


def load_diffkd_weights(method, state_dict):
    """Fills a built `DiffKD` from the authors' PyTorch module's weights.

    Args:
        method: A built `keras_diffkd.DiffKD` of the same sizes.
        state_dict: Dict from PyTorch parameter and buffer names
            (`"trans.weight"`, `"model.pred.0.block.0.weight"`, ...) to NumPy
            arrays in PyTorch's layout. `num_batches_tracked` is ignored.

    Raises:
        ValueError: If the method is not built, or names or shapes differ. Nothing
            is assigned then.

    Example:

    ```python
    state_dict = {k: v.numpy() for k, v in torch.load("diffkd.pt").items()}
    method = keras_diffkd.DiffKD("features", "features", latent_channels=1024)
    method.build((None, 7, 7, 2048), (None, 7, 7, 1024))
    load_diffkd_weights(method, state_dict)
    ```
    """
    if not method.built:
        raise ValueError(
            f"Method {method.name!r} must be built: call `method.build(teacher_shape, "
            "student_shape)` or give it to a Distiller first."
        )
    targets = diffkd_variables(method)
    given = {k for k in state_dict if not k.endswith("num_batches_tracked")}
    if given != set(targets):
        missing, unknown = sorted(set(targets) - given), sorted(given - set(targets))
        raise ValueError(
            "The state dict does not fit this DiffKD (latent_channels="
            f"{method.latent_channels}, adapt_noise={method.adapt_noise}). "
            f"Missing: {missing}. Unknown: {unknown}. Create DiffKD with the arguments "
            "of the training that wrote the state dict."
        )
    values = {}
    for name, variable in targets.items():
        values[name] = to_keras_layout(name, np.asarray(state_dict[name]))
        if values[name].shape != tuple(variable.shape):
            raise ValueError(
                f"Weight {name!r} has the wrong shape. Received: "
                f"{state_dict[name].shape} (PyTorch), expected {tuple(variable.shape)} "
                "(Keras). Build the method for features of the same channels."
            )
    for name, variable in targets.items():
        variable.assign(values[name])


def to_keras_layout(name, array):
    """Transposes a PyTorch kernel: OIHW, or OI of the one dense layer.

    A 1x1 convolution is a dense layer on the channels of each pixel here.
    """
    if array.ndim == 4 and array.shape[2:] == (1, 1):
        return array[:, :, 0, 0].T
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if name == "noise_adapter.pred.weight" else array


def diffkd_variables(method):
    """Returns a dict from the authors' parameter names to our variables."""
    names = {}
    if method.latent_channels is not None:
        autoencoder = method.autoencoder
        names |= _convolution("ae.encoder.0", autoencoder.encoder_conv)
        names |= _normalization("ae.encoder.1", autoencoder.encoder_bn)
        names |= _convolution("ae.decoder.0", autoencoder.decoder_conv)
    names |= _convolution("trans", method.student_projection)
    denoiser = method.diffusion.denoiser
    names["model.time_embedding.weight"] = denoiser.time_embedding.embeddings
    names |= _blocks("model.pred", denoiser.blocks)
    if method.adapt_noise:
        noise_adapter = method.diffusion.noise_adapter
        names |= _blocks("noise_adapter.feat", noise_adapter.blocks)
        prediction = noise_adapter.prediction
        names["noise_adapter.pred.weight"] = prediction.kernel
        names["noise_adapter.pred.bias"] = prediction.bias
    names |= _convolution("proj.0", method.output_conv)
    names |= _normalization("proj.1", method.output_bn)
    return names


def _blocks(prefix, blocks):
    names = {}
    for index, block in enumerate(blocks):
        path = f"{prefix}.{index}"
        if isinstance(block, keras.layers.Dense):
            names |= _convolution(path, block)
        elif isinstance(block, keras.layers.BatchNormalization):
            names |= _normalization(path, block)
        elif not isinstance(block, keras.layers.ReLU):
            names |= _bottleneck(f"{path}.block", block)
    return names


def _bottleneck(path, block):
    return {
        **_convolution(f"{path}.0", block.reduce_conv),
        **_normalization(f"{path}.1", block.reduce_bn),
        **_convolution(f"{path}.3", block.spatial_conv),
        **_normalization(f"{path}.4", block.spatial_bn),
        **_convolution(f"{path}.6", block.expand_conv),
        **_normalization(f"{path}.7", block.expand_bn),
    }


def _convolution(path, layer):
    return {f"{path}.weight": layer.kernel, f"{path}.bias": layer.bias}


def _normalization(path, layer):
    return {
        f"{path}.weight": layer.gamma,
        f"{path}.bias": layer.beta,
        f"{path}.running_mean": layer.moving_mean,
        f"{path}.running_var": layer.moving_variance,
    }
