# SPDX-License-Identifier: Apache-2.0
"""Normalisation, the state and action codec, tokenizers: numpy only, independent of the model."""
