"""The ROS nodes: wiring between topics, services and the packages that do the work."""
