"""Parses the values of flags."""

import os

from absl import flags

from keras_diffkd.datasets.folders.paths import is_path
from keras_diffkd.validation.arguments import check_number, is_balanced


class PathParser(flags.ArgumentParser):
    """Parses the path of a user's images, or the name of another data set.

    A path becomes absolute, so that a run can be used from every folder.
    """

    syntactic_help = "a path, or the name of a data set"

    def parse(self, argument):
        if not is_path(argument):
            return argument
        return os.path.abspath(os.path.expanduser(argument))


class WeightParser(flags.ArgumentParser):
    """Parses the weight of a loss, a number of at least 0 or `balanced`."""

    syntactic_help = "a number of at least 0, or 'balanced'"

    def parse(self, argument):
        if is_balanced(argument):
            return argument
        try:
            check_number("weight", weight := float(argument), least=0)
        except ValueError:
            raise ValueError(f"must be {self.syntactic_help}") from None
        return weight
