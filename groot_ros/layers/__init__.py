"""Neural network blocks that model families share; plain PyTorch, under the checkpoints' keys."""
