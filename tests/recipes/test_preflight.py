import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from wrong_input_models import distiller, images_and_labels, student, teacher

from keras_diffkd import FitNet, LogitsKD
from keras_diffkd.errors import PreflightError
from keras_diffkd.recipes.preflight import check_flags, check_training

X, Y = images_and_labels()
# What the data sets of the recipes promise for pixels of 0 to 255.
PROMISE = {"mean": [0.5], "std": [0.5], "input_range": [0, 255]}


def data_of(x, y=Y):
    train = tf.data.Dataset.from_tensor_slices((x, y)).batch(16).repeat()
    return types.SimpleNamespace(train=train, normalization=PROMISE)


def test_what_is_compared_is_said_before_training(parse, capsys):
    parse()
    made = distiller(methods=[FitNet("features", "features"), LogitsKD()])
    check_training(made, data_of(X), "runs/t.keras")
    out, err = capsys.readouterr()
    header, _, fitnet, kd, judged = out.splitlines()
    for title in ("method", "teacher's tap", "student's tap", "bridged by"):
        assert title in header
    assert fitnet.split(maxsplit=5)[5] == "1x1 convolution 3 to 4"
    assert kd.split()[-1] == "nothing"
    assert judged == "teacher runs/t.keras: accuracy 1.000 on 48 training images"
    assert err == ""


def test_a_teacher_that_knows_nothing_is_a_warning(parse, capsys):
    parse()
    made = distiller(of_teacher=teacher(order=np.roll(np.arange(10), 1)))
    check_training(made, data_of(X), "t")
    out, err = capsys.readouterr()
    assert "accuracy 0.000 on 48 training images" in out
    [line] = err.splitlines()
    assert line.startswith("warning: The teacher is no better than chance")


def test_a_teacher_of_other_classes_is_not_judged(parse, capsys):
    parse()
    methods = [FitNet("features", "features")]
    made = distiller(of_teacher=teacher(classes=7), methods=methods)
    check_training(made, data_of(X), "t")
    assert "teacher t: not judged" in capsys.readouterr().out


@pytest.mark.parametrize("x", [2.0 * X, X - 1.5], ids=["above", "below"])
def test_images_that_are_not_normalized_as_promised(parse, x):
    parse()
    with pytest.raises(PreflightError, match=r"\[-1.0\] to \[1.0\]. Received"):
        check_training(distiller(), data_of(x))


def test_problems_of_data_and_models_come_together(parse):
    parse()
    student_alone = student()
    student_alone.trainable = False
    made = distiller(of_student=student_alone)
    with pytest.raises(PreflightError) as error:
        check_training(made, data_of(X, Y + 1))
    first, second = error.value.problems
    assert "no trainable weights" in first
    assert "start at 1" in second


def test_all_flags_are_checked_at_once(parse):
    parse("--method=magic", "--learning_rate=-1", "--weight_decay=inf", "--seed=1")
    with pytest.raises(PreflightError) as error:
        check_flags(("run_dir", "dataset", "seed"), method=True)
    said = "\n".join(error.value.problems)
    assert len(error.value.problems) == 5
    for text in ("--run_dir is req", "--dataset is req", "--weight_decay", "--method"):
        assert text in said
    parse("--run_dir=r", "--method=magic")
    check_flags(("run_dir",), method=False)


def test_a_student_alone_has_no_table(parse, capsys):
    parse()
    made = distiller(methods=[])
    assert not made.methods
    check_training(made, data_of(X))
    assert capsys.readouterr().out == ""
    assert isinstance(made.student, keras.Model)
