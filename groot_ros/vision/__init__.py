"""What cameras send -> RGB arrays; knows the messages by their fields, not ROS."""
