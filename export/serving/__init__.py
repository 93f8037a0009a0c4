"""The model that is exported: in float32, with names, pixels and boxes."""
