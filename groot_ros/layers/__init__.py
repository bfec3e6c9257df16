# SPDX-License-Identifier: Apache-2.0
"""Neural network blocks shared by model families: plain PyTorch, named as in the checkpoints."""
