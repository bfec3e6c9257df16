# SPDX-License-Identifier: Apache-2.0
"""VIMA: pick and place poses from a prompt of words and pictures."""

from groot_ros.families.vima.family import FAMILY

__all__ = ["FAMILY"]
