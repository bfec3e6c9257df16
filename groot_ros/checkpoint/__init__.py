"""Locate, read and digest checkpoint files; only `safetensors_file` imports torch."""
