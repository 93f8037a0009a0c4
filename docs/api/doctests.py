"""Shows the doctests of docstrings as code: an extension of Griffe for `make docs`."""

import griffe


class Doctests(griffe.Extension):
    """Puts a fence around every paragraph that begins with `>>>`."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            paragraphs = obj.docstring.value.split("\n\n")
            obj.docstring.value = "\n\n".join(map(_fenced, paragraphs))


def _fenced(paragraph):
    if paragraph.startswith(">>>"):
        return f"```pycon\n{paragraph}\n```"
    return "**Example**" if paragraph == "Example:" else paragraph
