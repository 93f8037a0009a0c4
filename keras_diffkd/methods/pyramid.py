"""The base class of methods that compare one feature, or each level of a pyramid."""

import keras

from keras_diffkd.methods.method import DistillationMethod, declares


@keras.saving.register_keras_serializable(package="keras_diffkd")
class PyramidMethod(DistillationMethod):
    """Base class of methods that take one feature or all levels of a feature pyramid.

    A subclass implements `build_feature` and `feature_losses` for one feature. Taps
    give several features if they are lists, or layers that return dictionaries, as
    feature pyramid networks do. Each level then gets a copy of the method with its own
    weights, and each loss is the mean over the levels.

    Args:
        teacher_tap: `None`, a layer of one feature or of a dictionary of them, or a
            list of layers.
        student_tap: The same for the student; dictionaries have the same keys, and
            lists the same length.
        name: String, prefix of the logs.

    Raises:
        ValueError: If one tap is a list and the other is not, or, in `build`, if the
            levels of teacher and student differ.
    """

    takes_pyramid = True

    def __init__(self, teacher_tap=None, student_tap=None, *, name=None):
        super().__init__(teacher_tap, student_tap, name=name)
        check_paired_taps(self)
        self.levels = {}

    def build(self, teacher_shape, student_shape):
        """Creates the layers of the method.

        Args:
            teacher_shape: Shape tuple of the teacher's feature, batch axis
                included; of a pyramid, a dict or list of such tuples.
            student_shape: The same of the student.
        """
        if not is_pyramid(teacher_shape) and not is_pyramid(student_shape):
            self.build_feature(teacher_shape, student_shape)
        else:
            pairs = level_pairs(self.name, teacher_shape, student_shape)
            kinds = self._kinds_by_level(pairs)
            for level, shapes in pairs.items():
                method = self.level_method(level)
                method.tapped_kinds = kinds[level]
                try:
                    method.build(*shapes)
                except ValueError as error:
                    raise ValueError(f"Level {level!r}: {error}") from None
                self.levels[level] = method
        self.built = True

    @property
    def takes_mask(self):
        in_features = declares(type(self), "feature_losses", "mask")
        return in_features and super().takes_mask

    def _kinds_by_level(self, levels):
        if None in self.tapped_kinds:  # Nobody told.
            return dict.fromkeys(levels, (None, None))
        return level_pairs(self.name, *self.tapped_kinds)

    def level_method(self, level):
        """Returns a new method like this one, for one level."""
        config = {**self.get_config(), "teacher_tap": None, "student_tap": None}
        if config.get("seed") is not None:
            # Every level draws its own noise.
            config["seed"] += len(self.levels)
        return type(self).from_config({**config, "name": level})

    def build_feature(self, teacher_shape, student_shape):
        """Creates the layers for one feature."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `build_feature(teacher_shape, "
            "student_shape)`, which creates the layers for one feature."
        )

    def feature_losses(
        self, teacher_features, student_features, targets=None, training=True
    ):
        """Returns the named losses of one feature; see `compute_losses`."""
        raise NotImplementedError(
            f"{type(self).__name__} must define `feature_losses(teacher_features, "
            "student_features, targets, training)`, which returns a dict of losses."
        )

    def compute_losses(
        self,
        teacher_features,
        student_features,
        targets=None,
        training=True,
        mask=None,
        **draws,
    ):
        """Computes the losses of one batch.

        Args:
            teacher_features: Tensor of the teacher's tap; of a pyramid, a dict or
                list of them.
            student_features: The same of the student.
            targets: The batch's targets, if any.
            training: Whether batch normalization uses batch statistics.
            mask: Optional mask of the positions of one feature of class scores that
                count, for methods whose `feature_losses` have this keyword.
            **draws: Random draws to use, for methods that draw: see `feature_losses`.
                For a pyramid, dicts by level.

        Returns:
            Dict of float32 scalars; of a pyramid, means over the levels.
        """
        if not self.levels:
            if mask is not None:
                draws["mask"] = mask
            return self.feature_losses(
                teacher_features, student_features, targets, training, **draws
            )
        results = [
            method.compute_losses(
                *features,
                targets,
                training,
                **{name: draw[level] for name, draw in draws.items()},
            )
            for level, method, features in self.by_level(
                teacher_features, student_features
            )
        ]
        return {
            name: sum(result[name] for result in results) / len(results)
            for name in results[0]
        }

    def by_level(self, teacher_features, student_features):
        """Yields the name, the method and the pair of features of every level.

        Args:
            teacher_features: Dict or list of tensors.
            student_features: The same of the student.
        """
        pairs = level_pairs(self.name, teacher_features, student_features)
        for level, features in pairs.items():
            yield level, self.levels[level], features


def is_pyramid(features):
    """Whether there are several features or shapes: a dict or list of them."""
    if isinstance(features, list):
        # A shape that comes from a file is a list as well.
        return not all(size is None or isinstance(size, int) for size in features)
    return isinstance(features, dict)


def level_pairs(method_name, teacher, student):
    """Returns `{level: (teacher's, student's)}` of two pyramids.

    Args:
        method_name: String for the error.
        teacher: Dict or list of features or shapes.
        student: The same of the student.

    Raises:
        ValueError: If the levels differ.
    """
    teacher, student = _by_level(teacher), _by_level(student)
    if set(teacher) != set(student):
        raise ValueError(
            f"Method {method_name!r} compares two feature pyramids, which must have "
            f"the same levels. Received: teacher {sorted(teacher)}, student "
            f"{sorted(student)}. Build both models with the same levels, or pass lists "
            "of the taps to compare: ['backbone/fpn:P3', ...]."
        )
    return {level: (teacher[level], student[level]) for level in sorted(teacher)}


def _by_level(features):
    if isinstance(features, dict):
        return dict(features)
    if isinstance(features, list):
        return {f"level_{index}": feature for index, feature in enumerate(features)}
    return {"(one feature)": features}


def check_paired_taps(method):
    """Raises `ValueError` unless the taps are two names or two lists of them."""
    taps = (method.teacher_tap, method.student_tap)
    if all(tap is None or isinstance(tap, str) for tap in taps):
        return
    lists = all(isinstance(tap, (list, tuple)) and len(tap) > 0 for tap in taps)
    if not lists or len(taps[0]) != len(taps[1]):
        raise ValueError(
            f"{type(method).__name__} compares one feature, or several in pairs: "
            "`teacher_tap` and `student_tap` must both be None or a layer name, or "
            f"lists of the same length. Received: {taps[0]!r} and {taps[1]!r}."
        )
