"""The folder of a run: its layout, its flags, its models and its logs."""
