"""Training of the demo checkpoint: demonstrations, training run and check in closed loop."""
