"""Bags that rosbag2 reads, written and read without rosbag2 (through the package `rosbags`)."""
