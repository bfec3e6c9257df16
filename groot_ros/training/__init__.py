# SPDX-License-Identifier: Apache-2.0
"""`groot-ros train`: data, training loop, checkpoints and curves."""
