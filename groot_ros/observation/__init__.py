"""Observation buffers: history, synchronisation and input health, without ROS."""
