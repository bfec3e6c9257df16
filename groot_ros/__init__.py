# SPDX-License-Identifier: Apache-2.0
"""Control a robot with a vision-language-action policy through ROS 2."""

from pkgutil import extend_path

# Two folders have this name: the sources (the repository, first on PYTHONPATH) and the generated
# messages (the built overlay).
__path__ = extend_path(__path__, __name__)

__version__ = "0.2.0"
