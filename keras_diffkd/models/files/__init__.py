"""Opening model files that are not trusted."""
