"""Between ROS and the rooms that know nothing of it: messages, parameters, QoS, observations."""
