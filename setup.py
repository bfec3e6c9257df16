"""For `pip install -e .` of the part that needs no ROS; colcon uses CMakeLists.txt."""

from setuptools import setup

setup()
