"""`groot-ros <verb>`, one file a verb."""
