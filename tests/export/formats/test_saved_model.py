import tensorflow as tf

from keras_diffkd.export.formats.saved_model import write_saved_model
from keras_diffkd.export.serving.serving import Serving


def test_signature_takes_any_batch_size(exported, images):
    model = tf.saved_model.load(str(exported / "saved_model"))
    signature = model.signatures["serving_default"]

    assert list(signature.structured_outputs) == ["logits"]
    for size in (1, 7):
        assert signature(image=tf.constant(images[:size]))["logits"].shape == (size, 5)


def test_variables_are_stored_once(exported, student):
    path = str(exported / "saved_model" / "variables" / "variables")
    shapes = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    weights = [name for name in shapes if name.endswith("VARIABLE_VALUE")]
    assert len(weights) == len(student.weights)


def test_fixed_batch_size(student, tmp_path):
    write_saved_model(Serving(student), tmp_path / "model", batch_size=2)

    model = tf.saved_model.load(str(tmp_path / "model"))
    (spec,) = model.signatures["serving_default"].structured_input_signature[1].values()
    assert spec.shape == (2, 6, 6, 2)
