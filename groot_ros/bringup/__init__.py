"""Bring-up: launch arguments, the node graph, its launch description, and process supervision."""
