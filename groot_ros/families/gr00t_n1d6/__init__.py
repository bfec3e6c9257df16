# SPDX-License-Identifier: Apache-2.0
"""NVIDIA GR00T N1.6."""

from groot_ros.families.gr00t_n1d6.family import FAMILY

__all__ = ["FAMILY"]
