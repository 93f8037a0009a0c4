"""Files that describe an export (manifest, report, page), and the folder of all."""
