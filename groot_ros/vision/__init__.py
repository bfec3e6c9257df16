# SPDX-License-Identifier: Apache-2.0
"""Camera images: decoding to RGB arrays and resampling. Needs no ROS."""
