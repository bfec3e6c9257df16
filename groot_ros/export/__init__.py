"""From a checkpoint to proven engine files: export, quantise, build, validate, measure."""
