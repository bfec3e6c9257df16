# SPDX-License-Identifier: Apache-2.0
"""NVIDIA GR00T N1.5, with one decoder or with bimanual decoders."""
