# SPDX-License-Identifier: Apache-2.0
"""NVIDIA GR00T N1.5, with one decoder or with bimanual decoders."""

from groot_ros.families.gr00t_n1d5.family import FAMILY

__all__ = ["FAMILY"]
