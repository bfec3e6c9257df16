# SPDX-License-Identifier: Apache-2.0
"""The ROS nodes: wiring between topics, services and the packages that do the work."""
