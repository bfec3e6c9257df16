# SPDX-License-Identifier: Apache-2.0
"""Locate, read and digest checkpoint files; only `safetensors_file` imports torch."""
