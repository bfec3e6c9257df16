"""Everything between ROS and the rest of the package: messages, QoS, parameters, graph."""
