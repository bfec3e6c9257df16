"""The nodes: thin shells of wiring around the rooms that do the work."""
