"""A page that runs the exported student in the browser."""
