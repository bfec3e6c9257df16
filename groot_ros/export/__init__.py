"""Make engine files from a checkpoint: export, quantise, build, validate and measure them."""
