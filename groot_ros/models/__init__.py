"""The neural networks: plain PyTorch, no ROS, no input or output beyond safetensors and JSON."""
