# SPDX-License-Identifier: Apache-2.0
"""Tasks with prompts of words and pictures, modelled on those of VIMA-Bench."""
