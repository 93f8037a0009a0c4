"""What says no: arguments, models, labels, and the findings that collect it."""
