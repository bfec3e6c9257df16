# SPDX-License-Identifier: Apache-2.0
"""Everything between ROS and the rest of the package: messages, QoS, parameters, graph."""
