"""Camera images: decoding to RGB arrays and resampling. Needs no ROS."""
