import pytest
from absl import flags
from absl.testing import flagsaver


@pytest.fixture
def parse():
    """Sets the flags to a command line's, until the end of the test."""

    def parse(*arguments):
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["test", *arguments])

    with flagsaver.flagsaver():
        parse()
        yield parse
