"""`report.html`: one run as a page that can be read, printed and sent."""

from keras_diffkd.recipes.report.write import missing_packages, write_report

__all__ = ["missing_packages", "write_report"]
