# SPDX-License-Identifier: Apache-2.0
"""Evaluation of recorded runs: metrics, tables and pictures."""
