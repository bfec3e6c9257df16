"""Normalisation, the state and action codec, tokenizers: numpy only, independent of the model."""
