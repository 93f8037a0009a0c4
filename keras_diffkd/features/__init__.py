"""What is read out of models: taps, pairs of features, the teacher and its head."""
