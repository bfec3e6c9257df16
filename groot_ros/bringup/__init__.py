"""The node graph, its launch description, and supervision of its processes."""
