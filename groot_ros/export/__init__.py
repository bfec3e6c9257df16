# SPDX-License-Identifier: Apache-2.0
"""Make engine files from a checkpoint: export, quantise, build, validate and measure them."""
