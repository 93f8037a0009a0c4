"""Wrong flags to the training commands, and what the commands answer."""

import contextlib
import io

from absl import flags
from absl.testing import flagsaver

from keras_diffkd.recipes import distill, train_teacher
from keras_diffkd.recipes.command_line import guarded, parse_flags

GOOD = (
    "--run_dir=/nowhere/run",
    "--dataset=digits",
    "--teacher=digits_teacher",
    "--student=digits_student",
)
MAINS = {
    "diffkd-distill": distill.main,
    "diffkd-train-teacher": train_teacher.main,
}
# The flags that are given after the good ones, and what the answer has to say.
CASES = {
    ("--epoch=3",): "Unknown command line flag 'epoch'. Did you mean: epochs",
    ("--epochs=0",): "--epochs=0: 0 is not a positive integer",
    ("--epochs=many",): "--epochs=many: invalid literal",
    ("--batch_size=2147483648",): "--batch_size must be at most 2147483647",
    ("--seed=-1",): "--seed=-1",
    ("--learning_rate=0",): "--learning_rate must be positive",
    ("--learning_rate=nan",): "--learning_rate must be a finite number",
    ("--weight_decay=inf",): "--weight_decay must be a finite number",
    ("--momentum=nan",): "--momentum must be a finite number",
    ("--task_loss_weight=-1",): "--task_loss_weight=-1",
    ("--temperature=0", "--method=kd"): "--temperature must be a finite number above 0",
    ("--method=magic",): "--method must be of none, kd",
    ("--method=kd,kd",): "--method names the same method twice",
    ("--method=none,kd",): "'none' alone",
    ("--method=no_module:Method",): "module 'no_module', which Python does not find",
    ("--method=json:Method",): "'json' does not have 'Method'",
    ("--method=json:loads",): "that can be called without arguments",
    ("--method=json:JSONDecoder",): "must name a subclass of keras_diffkd",
    ("--method=kdiffusion",): "--student_convolution is required",
    ("--method=kd", "--task=detection"): "--method=kd compares class scores",
    ("--num_inference_steps=501",): "--num_inference_steps must be an integer in 1",
    ("--image_size=large",): "--image_size must be pixels",
    ("--milestones=30",): "--milestones needs --lr_schedule=step",
    ("--lr_schedule=step",): "--lr_schedule=step needs --milestones",
    ("--lr_schedule=cosine", "--warmup_epochs=100"): "--warmup_epochs must be less",
    ("--jit_compile=yes",): "should be one of <auto|true|false>",
    ("--flagfile=mnist.flags",): "there is no experiment file 'mnist.flags'",
    ("--flagfile=~no_such_user/mine.flags",): "no experiment file '~no_such_user",
    ("digits",): "Received 'digits' without a flag",
    ("--student=",): "--student is required",
    ("--student=shrink",): "needs a width, such as shrink:0.5, or a limit",
    ("--student=shrink:2",): "needs a width above 0 and up to 1",
    ("--max_kb=9",): "--max_kb is about --student=shrink",
    ("--quantization_aware=int4",): "should be one of <int8>",
    ("--quantization_epochs=2",): "is about --quantization_aware=int8",
    ("--quantization_aware=int8", "--precision=mixed_float16"): "float16 overflows",
    ("--cache_views=0",): "--cache_views=0: 0 is not a positive integer",
    ("--cache_dtype=int8",): "should be one of <float16|float32>",
    ("--teacher_cache=c", "--picture_every=1"): "--picture_every runs the teacher",
    (
        "--teacher_cache=c",
        "--task=detection",
    ): "whose methods read whole feature pyramids",
    ("--teacher_cache=c", "--examples_per_class=9", "--seeds=2"): "of its own",
    ("--learning_rate=-1", "--method=magic", "--image_size=large"): "3 problems",
}


def answer(name, arguments):
    """Runs a command in this process up to its first error.

    Args:
        name: One of `MAINS`.
        arguments: Iterable of strings.

    Returns:
        `(status, what it printed on stderr)`; status 0 if it only parsed flags.
    """
    printed = io.StringIO()
    with flagsaver.flagsaver(), contextlib.redirect_stderr(printed):
        flags.FLAGS.unparse_flags()
        try:
            rest = parse_flags(name, MAINS[name], [name, *arguments])
            guarded(name, MAINS[name])(rest)
        except SystemExit as end:
            return end.code, printed.getvalue()
        finally:
            # The flags must be readable when they are put back.
            flags.FLAGS.mark_as_parsed()
    return 0, printed.getvalue()
