"""Gives each training image a fixed number of augmented views, which have numbers."""

from keras_diffkd.datasets.stream import (
    check_integer,
    train_batches,
    views_in_order,
)


class FixedViews:
    """Reads the fixed views of training images, with their numbers.

    Image `i` of `num_images` has the views `i`, `num_images + i`, and so on. A view
    depends on `seed` and its number alone.

    Args:
        source: Source of examples, such as `ClassificationSource`.
        split: Split or slice of one.
        num_images: Integer, the number of images in `split`.
        prepare: Callable as in `stream.train_batches`, which returns `(image, label)`:
            the label may be a mask.
        batch_size: Integer, the global batch size of a training.
        per_image: Integer, the number of views of each image.
        seed: Non-negative integer for the augmentation.
        order: Dict with `seed`, `start_step` and `shard` of `stream.train_batches`.
        description: Dict for JSON with everything else that the images depend on.

    Attributes:
        num_images: Integer.
        per_image: Integer.
        batch_size: Integer.
        description: Dict for JSON with everything that the images depend on.

    Example:

    >>> from keras_diffkd.datasets import load_classification
    >>> data = load_classification(
    ...     "digits", data_dir="/tmp/data", batch_size=64, views=2)
    >>> len(data.views)
    2704
    >>> numbers, images, labels = next(iter(data.views.in_order(first=64)))
    >>> int(numbers[0]), images.shape
    (64, TensorShape([64, 8, 8, 1]))
    """

    def __init__(
        self,
        source,
        split,
        num_images,
        prepare,
        *,
        batch_size,
        per_image,
        seed,
        order,
        description,
    ):
        self.num_images = num_images
        self.per_image = per_image
        self.batch_size = batch_size
        self.description = {
            **description,
            "num_images": num_images,
            "views": per_image,
            "view_seed": seed,
        }
        self._stream = source, split, num_images, _numbered(prepare)
        self._views = {"views": per_image, "view_seed": seed}
        self._order = order

    def __len__(self):
        return self.num_images * self.per_image

    def train(self):
        """Returns the infinite dataset of training batches `(image, label)`."""
        return self.numbered_train().map(lambda number, image, label: (image, label))

    def numbered_train(self):
        """Returns the same batches as `train`, as `(number, image, label)`."""
        return train_batches(
            *self._stream, batch_size=self.batch_size, **self._order, **self._views
        )

    def in_order(self, first=0, batch_size=None):
        """Returns a finite dataset of all views in order: `(number, image, label)`.

        Args:
            first: Integer, the number of the first view.
            batch_size: Integer. Defaults to that of a training.
        """
        return views_in_order(
            *self._stream,
            batch_size=batch_size or self.batch_size,
            first=first,
            **self._views,
        )


def training_views(*stream, prepare, batch_size, order, views, view_seed, description):
    """Returns `(train, views)`: training batches, and `FixedViews` or `None`.

    Args:
        *stream: `source`, `split` and `num_images` of `FixedViews`.
        prepare: As in `FixedViews`, like `batch_size`, `order` and `description`.
        batch_size: Integer.
        order: Dict.
        views: Integer, or `None` for a new view of each image in each epoch.
        view_seed: Non-negative integer, or `None` for the seed of the order.
        description: Dict.

    Raises:
        ValueError: If `views` or `view_seed` is out of range.
    """
    if view_seed is None:
        view_seed = order["seed"]
    check_integer("view_seed", view_seed, 0)
    if views is None:
        return train_batches(*stream, prepare, batch_size=batch_size, **order), None
    check_integer("views", views, 1)
    fixed = FixedViews(
        *stream,
        prepare,
        batch_size=batch_size,
        per_image=views,
        seed=view_seed,
        order=order,
        description=description,
    )
    return fixed.train(), fixed


def _numbered(prepare):
    def numbered(seeds, example):
        return seeds[1], *prepare(seeds, example)

    return numbered
