"""Programs that run exported files without Keras and without this package.

They are copied to where the student runs and started as scripts: docs/runtimes.md.
"""
