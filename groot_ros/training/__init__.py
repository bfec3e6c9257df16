"""Training: data, loop, and the embedded demo checkpoint."""
