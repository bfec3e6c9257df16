# SPDX-License-Identifier: Apache-2.0
# Source this file: activates the virtual environment, ROS 2 and the built overlay in this shell.
_groot_ros_root=$(cd "$(dirname "${BASH_SOURCE[0]:-${(%):-%x}}")" && pwd)
_groot_ros_distro=""
for _d in ${ROS_DISTRO:-} jazzy humble; do
  [ -f "/opt/ros/$_d/setup.bash" ] && { _groot_ros_distro=$_d; break; }
done
if [ ! -f "$_groot_ros_root/install/setup.bash" ]; then
  echo "groot_ros is not set up: run 'make setup' in $_groot_ros_root first" >&2
else
  export PATH="$_groot_ros_root/.venv/bin:$PATH" VIRTUAL_ENV="$_groot_ros_root/.venv"
  if [ -n "$_groot_ros_distro" ]; then . "/opt/ros/$_groot_ros_distro/setup.bash"
  else export AMENT_PREFIX_PATH="$_groot_ros_root/.venv${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}" ROS_DISTRO=jazzy
  fi
  . "$_groot_ros_root/install/setup.bash"
  # The sources come first, so edits need no build; the overlay provides the generated messages.
  export PYTHONPATH="$_groot_ros_root:$PYTHONPATH"
fi
unset _groot_ros_root _groot_ros_distro _d
