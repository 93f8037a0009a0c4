"""RTK: attention-based distillation from representative teacher features only."""

import keras

from keras_diffkd.methods.afd import AFD
from keras_diffkd.validation.arguments import check_integer


@keras.saving.register_keras_serializable(package="keras_diffkd")
class RTK(AFD):
    """Experimental: our reading of the abstract. Keeps representative features only.

    For each sample, the teacher's features are ranked by the mean of their scores with
    the student's features (the attention of `AFD` before softmax). The best `k` of `n`
    count, with a factor `n / k` that keeps the size of the loss.
    `k = n` is `AFD` exactly.

    Args:
        teacher_tap: List of layers of the teacher, as for `AFD`.
        student_tap: List of layers of the student.
        k: Integer, how many of the teacher's features count for each sample. By
            default only the best one.
        key_dim: Integer, width of queries and keys.
        weight: Float, `"balanced"` or schedule, weight of the loss in the total loss.
        feature_kind: As for `AFD`.
        name: String, prefix of the logs.

    Losses: `distill`.

    Raises:
        ValueError: If `k` is not in 1 to the number of the teacher's taps, or as `AFD`.

    Example:

    >>> method = RTK(["stage1", "features"], ["features"], k=1, key_dim=8)
    >>> method.build([(None, 8, 8, 16), (None, 4, 4, 32)], [(None, 4, 4, 8)])
    >>> losses = method.compute_losses(
    ...     [keras.ops.ones((2, 8, 8, 16)), keras.ops.ones((2, 4, 4, 32))],
    ...     [keras.ops.ones((2, 4, 4, 8))])
    >>> sorted(losses)
    ['distill']

    Source: Representative Teacher Keys (arXiv 2206.12788). Only the abstract was at
    hand. The ranking and the weights of the features are our reading.
    """

    def __init__(
        self,
        teacher_tap,
        student_tap,
        *,
        k=1,
        key_dim=128,
        weight=1.0,
        feature_kind="auto",
        name="rtk",
    ):
        super().__init__(
            teacher_tap,
            student_tap,
            key_dim=key_dim,
            weight=weight,
            feature_kind=feature_kind,
            name=name,
        )
        self.k = check_integer("k", k, 1)
        if k > len(teacher_tap):
            raise ValueError(
                "`k` must be an integer in 1 to the number of the teacher's taps, "
                f"{len(teacher_tap)}. Received: k={k}"
            )

    def _pair_weights(self, scores):
        number = scores.shape[1]
        _, best = keras.ops.top_k(keras.ops.mean(scores, axis=-1), self.k)
        kept = keras.ops.sum(keras.ops.one_hot(best, number, dtype="float32"), axis=1)
        return super()._pair_weights(scores) * kept[:, :, None] * (number / self.k)

    def get_config(self):
        return {**super().get_config(), "k": self.k}
