"""A vision-language-action policy in control of a robot, through ROS 2."""

from pkgutil import extend_path

# The sources (repository first on PYTHONPATH) and the generated messages (the built
# overlay) live side by side under this one name.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
