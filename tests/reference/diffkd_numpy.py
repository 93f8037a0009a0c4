"""DiffKD and its losses in float64 NumPy, written from the papers alone.

The library is tested against these functions, so nothing here imports it or Keras.
Feature maps are channels-last, (B, H, W, C); sequences are (B, T, C), maps of three
dimensions (B, D, H, W, C); logits are (B, K).

Weights are `Units`: the layers of a network in the order in which they run, each a
dictionary with the names that Keras gives its variables (`kernel` and `bias`,
`gamma`, `beta`, `moving_mean` and `moving_variance`, `embeddings`).

Every function also works on complex numbers and is analytic almost everywhere (no
`abs`, no `conj`), so that `gradient` can differentiate by a complex step, which has no
rounding error to speak of.

Sources: DiffKD (Huang et al., NeurIPS 2023, arXiv 2305.15712), DDPM (Ho et al., 2020),
DDIM (Song et al., 2021), KD (Hinton et al., 2015), DIST (Huang et al., NeurIPS 2022),
DKD (Zhao et al., CVPR 2022), LSKD (Sun et al., CVPR 2024), TTM (Zheng & Yang, ICLR
2024).
"""

import numpy as np

EPSILON = 1e-5
MOMENTUM = 0.9


def _exact(x):
    """Returns `x` as float64, or as complex128 where it is complex."""
    x = np.asarray(x)
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


def gradient(function, x, step=1e-30):
    """Gradient of a real-valued analytic `function` at `x`, one entry at a time."""
    x = np.asarray(x, np.float64)
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        shifted = x.astype(np.complex128)
        shifted[index] += 1j * step
        result[index] = np.imag(function(shifted)) / step
    return result


# Noise schedule and sampler.


def noise_schedule(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02):
    """Returns (betas, alphas_cumprod): betas grow linearly, both ends included."""
    steps = np.arange(num_train_timesteps) / max(num_train_timesteps - 1, 1)
    betas = beta_start + (beta_end - beta_start) * steps
    alphas_cumprod = np.array(
        [np.prod(1.0 - betas[: t + 1]) for t in range(num_train_timesteps)]
    )
    return betas, alphas_cumprod


def add_noise(x, noise, timesteps, alphas_cumprod):
    """The forward process q(x_t | x_0) with one timestep per sample."""
    x, noise = _exact(x), _exact(noise)
    a = alphas_cumprod[np.asarray(timesteps)].reshape((-1,) + (1,) * (x.ndim - 1))
    return np.sqrt(a) * x + np.sqrt(1.0 - a) * noise


def ddim_timesteps(num_inference_steps=5, num_train_timesteps=1000):
    """The lower half of a grid of 2N timesteps, falling."""
    stride = num_train_timesteps // (2 * num_inference_steps)
    return [stride * i for i in reversed(range(num_inference_steps))]


def ddim_step(noise_prediction, t, x, stride, alphas_cumprod):
    """One deterministic DDIM step (eta 0, nothing clipped) from t to t - stride."""
    x, e = _exact(x), _exact(noise_prediction)
    a = alphas_cumprod[t]
    a_previous = alphas_cumprod[t - stride] if t >= stride else 1.0
    x0 = (x - np.sqrt(1.0 - a) * e) / np.sqrt(a)
    return np.sqrt(a_previous) * x0 + np.sqrt(1.0 - a_previous) * e


def ddim_sample(denoise, x, alphas_cumprod, num_inference_steps=5):
    """Denoises `x`; `denoise(x, timesteps)` predicts the noise."""
    num_train_timesteps = len(alphas_cumprod)
    stride = num_train_timesteps // (2 * num_inference_steps)
    for t in ddim_timesteps(num_inference_steps, num_train_timesteps):
        e = denoise(x, np.full(len(x), t))
        x = ddim_step(e, t, x, stride, alphas_cumprod)
    return x


# Layers.


class Units:
    """The layers of a network, taken one after the other as it runs.

    In training mode a batch normalization that ran finds the moving statistics after
    the step in its own dictionary; pass a `copy` where the old ones are still needed.
    """

    def __init__(self, units):
        self.units = [{k: _exact(v) for k, v in unit.items()} for unit in units]

    def copy(self):
        return Units(self.units)

    def run(self, network, *args, **kwargs):
        """Runs `network(layers, *args)` and checks that it used every layer."""
        layers = iter(self.units)
        result = network(layers, *args, **kwargs)
        unused = list(layers)
        assert not unused, f"{len(unused)} layers did not run"
        return result


def dense(layer, x):
    """A dense layer, or a convolution whose kernel is 1x1."""
    kernel = layer["kernel"].reshape(layer["kernel"].shape[-2:])
    return _exact(x) @ kernel + layer["bias"]


def conv3(layer, x):
    """A convolution with a kernel of 3 along every axis, stride 1 and zeros around."""
    x, kernel = _exact(x), layer["kernel"]
    sizes = x.shape[1:-1]
    assert kernel.shape[:-2] == (3,) * len(sizes)
    padded = np.pad(x, ((0, 0), *((1, 1) for _ in sizes), (0, 0)))
    y = layer["bias"]
    for offset in np.ndindex(kernel.shape[:-2]):
        window = tuple(slice(i, i + n) for i, n in zip(offset, sizes, strict=True))
        y = y + padded[(slice(None), *window)] @ kernel[offset]
    return y


def batch_norm(layer, x, training):
    """Batch normalization over everything but the channels."""
    x = _exact(x)
    if training:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        variance = ((x - mean) ** 2).mean(axes)  # Biased, as Keras keeps it.
        for name, value in (("moving_mean", mean), ("moving_variance", variance)):
            layer[name] = MOMENTUM * layer[name] + (1.0 - MOMENTUM) * value
    else:
        mean, variance = layer["moving_mean"], layer["moving_variance"]
    normalized = (x - mean) / np.sqrt(variance + EPSILON)
    return layer["gamma"] * normalized + layer["beta"]


def dense_batch_norm(layers, x, training):
    """BN(1x1(x)): a step of the networks below, the encoder, the output projection."""
    y = dense(next(layers), x)
    return batch_norm(next(layers), y, training)


def relu(x):
    return np.where(x.real > 0, x, 0.0)


def bottleneck(layers, x, training):
    """x + [1x1, BN, ReLU, 3x3, BN, ReLU, 1x1, BN](x), no ReLU after the sum."""
    y = relu(dense_batch_norm(layers, x, training))
    y = conv3(next(layers), y)
    y = relu(batch_norm(next(layers), y, training))
    return _exact(x) + dense_batch_norm(layers, y, training)


def mlp(layers, x, training):
    """[1x1, BN, ReLU, 1x1](x), half of the network of kernel size 1."""
    y = relu(dense_batch_norm(layers, x, training))
    return dense(next(layers), y)


def denoiser(layers, x, timesteps, kernel_size, training):
    """Predicts the noise in `x` at the `timesteps` (B,)."""
    embedding = next(layers)["embeddings"][np.asarray(timesteps)]
    x = _exact(x)
    x = x + embedding.reshape((len(x),) + (1,) * (x.ndim - 2) + (x.shape[-1],))
    if kernel_size == 3:
        x = bottleneck(layers, x, training)
        x = bottleneck(layers, x, training)
        return dense_batch_norm(layers, x, training)
    x = mlp(layers, x, training)
    x = batch_norm(next(layers), x, training)
    return mlp(layers, x, training)


def noise_adapter(layers, x, kernel_size, training):
    """Returns gamma (B,): how much of the feature stays in the noisy mix."""
    if kernel_size == 3:
        y = bottleneck(layers, x, training)
    else:
        y = mlp(layers, x, training)
        y = batch_norm(next(layers), y, training)
    pooled = y.mean(tuple(range(1, y.ndim - 1)))
    return softmax(dense(next(layers), pooled))[:, 0]


def autoencode(layers, x, training):
    """Returns the latent map and the restored one."""
    z = dense_batch_norm(layers, x, training)
    return z, dense(next(layers), z)


def refine(units, x, init_noise, alphas_cumprod, *, kernel_size, num_steps, training):
    """The student's feature, denoised (steps 2 to 5 of DiffKD).

    `units` has the `Units` of `projection`, `noise_adapter` (None for no noise
    matching), `denoiser` and `output`.
    """
    x = units["projection"].run(lambda layers: dense(next(layers), x))
    if units["noise_adapter"] is not None:
        gamma = units["noise_adapter"].run(noise_adapter, x, kernel_size, training)
        gamma = gamma.reshape((-1,) + (1,) * (x.ndim - 1))
        x = gamma * x + (1.0 - gamma) * _exact(init_noise)

    def denoise(x, timesteps):
        return units["denoiser"].run(denoiser, x, timesteps, kernel_size, training)

    x = ddim_sample(denoise, x, alphas_cumprod, num_steps)
    return units["output"].run(dense_batch_norm, x, training)


def diffkd(units, teacher, student, draws, *, distance, num_steps=5, kernel_size=3):
    """One training step's losses: a dictionary, with the `target` and `refined` maps.

    Args:
        units: the dictionary of `refine`, with `autoencoder` or None.
        teacher: the teacher's map (B, H, W, C_t).
        student: the student's map (B, H, W, C_s).
        draws: dictionary of `init_noise`, `denoise_noise` and `timesteps`.
        distance: `distance(target, refined)`.
        num_steps: of the sampler.
        kernel_size: of denoiser and noise adapter.
    """
    _, alphas_cumprod = noise_schedule()
    target, losses = _exact(teacher), {}
    if units["autoencoder"] is not None:
        target, restored = units["autoencoder"].run(autoencode, teacher, True)
        losses["reconstruct"] = mean_squared_error(teacher, restored)
    refined = refine(
        units,
        student,
        draws["init_noise"],
        alphas_cumprod,
        kernel_size=kernel_size,
        num_steps=num_steps,
        training=True,
    )
    timesteps, noise = draws["timesteps"], draws["denoise_noise"]
    noisy = add_noise(target, noise, timesteps, alphas_cumprod)
    predicted = units["denoiser"].run(denoiser, noisy, timesteps, kernel_size, True)
    losses["denoise"] = mean_squared_error(noise, predicted)
    losses["distill"] = distance(target, refined)
    return losses | {"target": target, "refined": refined}


# Losses: the teacher comes first.


def log_softmax(z):
    z = _exact(z)
    z = z - z.real.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def softmax(z):
    return np.exp(log_softmax(z))


def _kl(log_p, log_q):
    """KL(p || q) per row; a class with p = 0 adds nothing."""
    p = np.exp(log_p)
    return np.where(p.real > 0, p * (log_p - log_q), 0.0).sum(-1)


def mean_squared_error(teacher, student):
    return ((_exact(student) - _exact(teacher)) ** 2).mean()


def kl_divergence(teacher_logits, student_logits, temperature=1.0):
    log_p = log_softmax(_exact(teacher_logits) / temperature)
    log_q = log_softmax(_exact(student_logits) / temperature)
    return temperature**2 * _kl(log_p, log_q).mean()


def standardized(logits):
    """LSKD: each row less its mean, divided by the deviation of a sample plus 1e-7."""
    z = _exact(logits)
    z = z - z.mean(-1, keepdims=True)
    variance = (z * z).sum(-1, keepdims=True) / (z.shape[-1] - 1)
    return z / (np.sqrt(variance) + 1e-7)


def ttm(teacher_logits, student_logits, temperature, weighted=False):
    """TTM; WTTM if weighted: the sum of the powers of the teacher's probabilities."""
    powers = softmax(_exact(teacher_logits)) ** (1.0 / temperature)
    total = powers.sum(-1, keepdims=True)
    log_q = log_softmax(_exact(student_logits))
    divergence = _kl(np.log(powers / total), log_q)
    return (divergence * total[..., 0] if weighted else divergence).mean()


def pearson(a, b):
    """Pearson's correlation of each row of `a` with the same row of `b`."""
    a = a - a.mean(1, keepdims=True)
    b = b - b.mean(1, keepdims=True)
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def dist(teacher_logits, student_logits, beta=1.0, gamma=1.0, temperature=1.0):
    p = softmax(_exact(teacher_logits) / temperature)
    q = softmax(_exact(student_logits) / temperature)
    between_classes = 1.0 - pearson(p, q).mean()
    within_classes = 1.0 - pearson(p.T, q.T).mean()
    return temperature**2 * (beta * between_classes + gamma * within_classes)


def dkd(teacher_logits, student_logits, labels, alpha=1.0, beta=8.0, temperature=4.0):
    target, non_target = dkd_terms(teacher_logits, student_logits, labels, temperature)
    return temperature**2 * (alpha * target.mean() + beta * non_target.mean())


def dkd_terms(teacher_logits, student_logits, labels, temperature):
    """(TCKD, NCKD) per sample, not yet times the temperature squared.

    TCKD compares (target class, all others); NCKD is the KL divergence over the other
    classes alone.
    """
    target, non_target = [], []
    for z_t, z_s, label in zip(
        _exact(teacher_logits), _exact(student_logits), labels, strict=True
    ):
        others = np.arange(len(z_t)) != label

        def split(z, label=label, others=others):
            z = log_softmax(z / temperature)
            shift = z[others].real.max()
            rest = shift + np.log(np.exp(z[others] - shift).sum())
            return np.array([z[label], rest]), z[others] - rest

        (binary_t, others_t), (binary_s, others_s) = split(z_t), split(z_s)
        target.append(_kl(binary_t, binary_s))
        non_target.append(_kl(others_t, others_s))
    return np.array(target), np.array(non_target)
