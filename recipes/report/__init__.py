"""`report.html`: one run as a page that can be read, printed and sent."""
