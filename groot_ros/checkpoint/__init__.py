"""Locate, read and digest checkpoint files; importable without torch except `safetensors_file`."""
