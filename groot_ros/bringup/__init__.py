# SPDX-License-Identifier: Apache-2.0
"""Bring-up: launch arguments, the node graph, its launch description, and process supervision."""
