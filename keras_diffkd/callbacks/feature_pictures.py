"""Draws how denoising changes the student's features."""

from pathlib import Path

import keras
import numpy as np


class FeaturePictures(keras.callbacks.Callback):
    """Draws the teacher's, the student's and the denoised features of the same images.

    A picture for each method with `stages` (such as `DiffKD`) on feature maps shows:
    one row per image with the features in false colors (three principal components of
    the teacher's features, the same for all columns), the distribution of the weight γ
    of noise matching, and the mean squared error to the teacher's feature before and
    after denoising, over the epochs. If the two lines coincide and γ is 1 everywhere,
    denoising has no effect. For methods on vectors, a picture shows the last two only.

    The callback runs both models on the batch in training mode, as in a step, but
    changes nothing: no moving statistics and no states of random generators.

    Args:
        inputs: Batch of at least 2 inputs of the student. 32 or more give meaningful
            batch statistics.
        folder: Folder for the files `<method>_epoch_0005.png`.
        every: Integer, the number of epochs between two pictures. The first epoch
            always has a picture.
        num_images: Integer, the number of rows in a picture.
        tensorboard: Optional folder for TensorBoard events with the same pictures. It
            needs TensorFlow.

    Raises:
        ValueError: If an argument is out of range, or, when training begins, if
            the model is not a `Distiller` with such a method.
        ImportError: If matplotlib is missing (extra `plot`).

    Example:

    ```python
    pictures = FeaturePictures(x_val[:64], "pictures", every=10)
    distiller.fit(data, epochs=100, callbacks=[pictures])
    ```
    """

    def __init__(self, inputs, folder, *, every=5, num_images=5, tensorboard=None):
        super().__init__()
        if len(inputs) < 2:
            raise ValueError(
                "`inputs` must be a batch of at least 2 samples. "
                f"Received: {len(inputs)}. Pass 32 or more"
            )
        if every < 1 or num_images < 1:
            raise ValueError(
                "`every` and `num_images` must be at least 1. Received: "
                f"every={every}, num_images={num_images}"
            )
        import matplotlib  # noqa: F401  Fails before training if it is missing.

        self.inputs = inputs
        self.folder = Path(folder)
        self.every = every
        self.num_images = min(num_images, len(inputs))
        self.tensorboard = tensorboard
        self._errors = {}
        self._writer = None

    def on_train_begin(self, logs=None):
        methods = getattr(self.model, "methods", ())
        if not any(hasattr(method, "stages") for method in methods):
            raise ValueError(
                "FeaturePictures needs a Distiller with a method that denoises, such "
                f"as DiffKD. Received: {type(self.model).__name__} with the methods "
                f"{[type(method).__name__ for method in methods]}. Add such a method, "
                "or remove the callback"
            )
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, epoch, logs=None):
        if epoch != 0 and (epoch + 1) % self.every:
            return
        for name, stages in self._stages().items():
            errors = self._errors.setdefault(name, [])
            errors.append((epoch + 1, *_errors(stages)))
            figure = _draw(
                name, epoch + 1, self._images(), stages, errors, self.num_images
            )
            path = self.folder / f"{name}_epoch_{epoch + 1:04d}.png"
            figure.savefig(path, dpi=110)
            if self.tensorboard is not None:
                width, height = figure.canvas.get_width_height()
                self._write_event(name, epoch + 1, path.read_bytes(), width, height)

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _stages(self):
        """Returns a dict from the method name (and level) to its stages as arrays."""
        results = {}
        # Assignments inside the scope do not reach the variables.
        with keras.StatelessScope():
            _, features = self.model.tapped_features(self.inputs, training=True)
            for method, (teacher, student) in zip(
                self.model.methods, features, strict=True
            ):
                if not hasattr(method, "stages"):
                    continue
                if not method.levels:
                    results[method.name] = method.stages(teacher, student)
                    continue
                for level, of_level, features in method.by_level(teacher, student):
                    results[f"{method.name}_{level}"] = of_level.stages(*features)
        return keras.tree.map_structure(keras.ops.convert_to_numpy, results)

    def _images(self):
        """Returns the inputs as pictures, or `None` if they are not images."""
        images = np.asarray(self.inputs)[: self.num_images]
        if images.ndim != 4 or images.shape[-1] not in (1, 3):
            return None
        low, high = images.min(), images.max()
        return (images - low) / max(high - low, 1e-12)

    def _write_event(self, name, epoch, png, width, height):
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self.tensorboard))
        # Writes the same event as `tf.summary.image`, which needs tensorboard.
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data={"plugin_name": "images"},
            data_class="DATA_CLASS_BLOB_SEQUENCE",
        )
        with self._writer.as_default():
            image = tf.constant([str(width).encode(), str(height).encode(), png])
            tf.summary.write(f"features/{name}", image, epoch, metadata)
        self._writer.flush()


def _errors(stages):
    """Returns the mean squared errors to the target before and after denoising."""
    return tuple(
        float(np.mean(np.square(stages[key] - stages["target"])))
        for key in ("student", "denoised")
    )


def _draw(name, epoch, images, stages, errors, count):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = _columns(images, stages, count)
    width = 1.6 * len(columns)
    height = max(1.6 * count, 3.8) if columns else 3.8
    # A figure without pyplot opens no window and has no global state.
    figure = Figure(figsize=(width + 4, height + 0.9))
    FigureCanvasAgg(figure)
    figure.suptitle(f"{name}, epoch {epoch}")
    outer = figure.add_gridspec(
        1,
        2 if columns else 1,
        width_ratios=[width, 3] if columns else None,
        wspace=0.16,
        left=0.02 if columns else 0.16,
        right=0.97,
        bottom=0.5 / height,
        top=1 - 0.75 / height,
    )
    if columns:
        grid = outer[0].subgridspec(count, len(columns), wspace=0.05, hspace=0.05)
        for j, (title, pictures) in enumerate(columns.items()):
            for i in range(count):
                axes = figure.add_subplot(grid[i, j])
                axes.imshow(pictures[i], cmap="gray", interpolation="nearest")
                axes.set_axis_off()
                if i == 0:
                    axes.set_title(title, fontsize=9)
    side = outer[-1].subgridspec(2, 1, hspace=0.6)
    _draw_gamma(figure.add_subplot(side[0]), stages.get("gamma"))
    _draw_errors(figure.add_subplot(side[1]), errors)
    figure.canvas.draw()
    return figure


def _columns(images, stages, count):
    """Returns a dict from column title to pictures, which is empty except for maps."""
    maps = {
        "teacher": stages["target"],
        "student, projected": stages["student"],
        "student, denoised": stages["denoised"],
    }
    target = stages["target"]
    if target.ndim != 4 or target.shape[1:3] == (1, 1):
        return {}
    colors = false_colors(stages["target"])
    columns = {} if images is None else {"input": images}
    return columns | {title: colors(maps_[:count]) for title, maps_ in maps.items()}


def false_colors(reference):
    """Returns a function that colors feature maps like `reference`.

    Args:
        reference: Array `(batch, height, width, channels)`. Its first three
            principal components become red, green and blue, in a range of 2.5
            standard deviations around the mean.
    """
    flat = reference.reshape(-1, reference.shape[-1]).astype("float64")
    mean = flat.mean(axis=0)
    values, vectors = np.linalg.eigh(
        np.cov(flat - mean, rowvar=False).reshape(flat.shape[1], flat.shape[1])
    )
    leading = np.argsort(values)[::-1][:3]
    scale = 5.0 * np.sqrt(np.maximum(values[leading], 1e-12))

    def color(maps):
        components = (maps - mean) @ vectors[:, leading] / scale + 0.5
        missing = 3 - components.shape[-1]
        components = np.pad(
            components, [(0, 0)] * 3 + [(0, missing)], constant_values=0.5
        )
        return np.clip(components, 0.0, 1.0)

    return color


def _draw_gamma(axes, gamma):
    axes.set_title("weight γ of the student's feature", fontsize=9)
    if gamma is None:
        axes.text(0.5, 0.5, "no noise adaptation", ha="center", va="center")
        axes.set_axis_off()
        return
    axes.hist(gamma, bins=np.linspace(0, 1, 26), color="#3b6ea5")
    axes.set_xlabel(f"mean {gamma.mean():.3f}; 1: no noise is added", fontsize=8)
    axes.set_ylabel("images", fontsize=8)
    axes.tick_params(labelsize=8)


def _draw_errors(axes, errors):
    epochs, before, after = zip(*errors, strict=True)
    axes.set_title("squared error to the teacher", fontsize=9)
    axes.plot(epochs, before, "o-", color="#b5651d", label="projected", markersize=3)
    axes.plot(epochs, after, "o-", color="#3b6ea5", label="denoised", markersize=3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8)
