"""Opens model files that are not trusted."""
