#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install everything that `make demo` and `make test` need; fast when nothing changed.
#   .venv     Python packages, and ROS 2 as wheels if there is no /opt/ros
#   install/  the built overlay: messages, nodes, launch files
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
die() { printf '\033[31m[setup] %s\033[0m\n' "$*" >&2; exit 1; }

# --- ROS 2: from /opt/ros, otherwise wheels in the virtual environment
ROS_ROOT=""
for distro in ${ROS_DISTRO:-} jazzy humble; do
  [[ -f /opt/ros/$distro/setup.bash ]] && { ROS_ROOT=/opt/ros/$distro; break; }
done
if [[ -n $ROS_ROOT ]]; then
  PYTHON=${PYTHON:-/usr/bin/python3}   # rclpy is built for the system Python only
  VENV_FLAGS=(--system-site-packages)
  say "ROS 2 from $ROS_ROOT"
else
  PYTHON=${PYTHON:-$(command -v python3.11 || command -v python3.12 || command -v python3)}
  # An installed torch (for example NVIDIA's build for Jetson) stays visible and is not replaced.
  VENV_FLAGS=()
  "$PYTHON" -c 'import torch' 2>/dev/null && VENV_FLAGS=(--system-site-packages)
fi
"$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' ||
  die "$PYTHON is $("$PYTHON" -V 2>&1), but Python 3.10 to 3.12 is required: PYTHON=/path/to/python3.11 make setup"
[[ -n $ROS_ROOT ]] || "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' ||
  die "the ROS 2 wheels require Python 3.11 or 3.12 (this is $("$PYTHON" -V 2>&1)); install one of them, or ROS 2 under /opt/ros"

# --- system packages: a compiler for the messages, virtual environments, software rendering
APT_PACKAGES=()
command -v g++ >/dev/null || APT_PACKAGES+=(g++)
command -v cmake >/dev/null || APT_PACKAGES+=(cmake)
command -v make >/dev/null || APT_PACKAGES+=(make)
# On Debian and Ubuntu, virtual environments need a separate package.
[[ -x .venv/bin/python ]] || "$PYTHON" -c 'import ensurepip' 2>/dev/null ||
  APT_PACKAGES+=("$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
ldconfig -p 2>/dev/null | grep -q 'libOSMesa\.so' || APT_PACKAGES+=(libosmesa6)
if ((${#APT_PACKAGES[@]})); then
  say "system packages: ${APT_PACKAGES[*]}"
  APT_LINE="apt-get update && apt-get install -y --no-install-recommends ${APT_PACKAGES[*]}"
  if [[ $(id -u) == 0 ]]; then bash -c "$APT_LINE" >/dev/null
  elif command -v sudo >/dev/null; then sudo bash -c "$APT_LINE" >/dev/null
  else die "system packages are missing and there is no sudo; ask an administrator to run: $APT_LINE"
  fi
fi

# --- Python packages, only when a requirement changed
VENV=$PWD/.venv
[[ -x $VENV/bin/python ]] || { say "virtual environment .venv"; "$PYTHON" -m venv "${VENV_FLAGS[@]}" "$VENV"; touch "$VENV/COLCON_IGNORE"; }
WANT=$( { cat requirements/*.txt pyproject.toml setup.py scripts/setup.sh; echo "$ROS_ROOT"; "$VENV/bin/python" -V; } | sha256sum)
if [[ $(cat "$VENV/.groot_ros_packages" 2>/dev/null) != "$WANT" ]]; then
  pip() { "$VENV/bin/python" -m pip --disable-pip-version-check "$@"; }
  quiet_pip() { # print the output of pip only if it fails
    local log; log=$(mktemp)
    pip "$@" >"$log" 2>&1 || { cat "$log" >&2; die "pip $* failed; see above"; }
    rm -f "$log"
  }
  if [[ -z $ROS_ROOT ]]; then
    say "ROS 2 Jazzy wheels"
    quiet_pip install -r requirements/ros-wheels.txt -r requirements/build.txt
  else
    say "build tools"
    quiet_pip install -r requirements/build.txt colcon-common-extensions
  fi
  if ! "$VENV/bin/python" -c 'import torch' 2>/dev/null; then
    say "torch"
    quiet_pip install "torch==2.13.0"
  fi
  say "Python packages"
  quiet_pip install -r requirements/dev.txt \
    -e '.[sim,gymnasium,bags,datasets,dask,train,report,watch,onnx,vima]'
  printf '%s\n' "$WANT" >"$VENV/.groot_ros_packages"
fi

# --- overlay, only when a message, a build file or the list of installed files changed
export PATH=$VENV/bin:$PATH
if [[ -n $ROS_ROOT ]]; then set +u; . "$ROS_ROOT/setup.bash"; set -u; CMAKE_EXTRA=()
else export AMENT_PREFIX_PATH=$VENV; CMAKE_EXTRA=("-DCMAKE_PROJECT_INCLUDE=$PWD/cmake/ros_wheels.cmake")
fi
WANT=$( { cat CMakeLists.txt package.xml cmake/* msg/* srv/*; find bin launch config checkpoints groot_ros -type f -not -name '*.pyc' | sort; pwd; cat "$VENV/.groot_ros_packages"; } | sha256sum)
if [[ $(cat install/.groot_ros_overlay 2>/dev/null) != "$WANT" ]]; then
  say "building the overlay (messages, nodes, launch files)"
  BUILD_LOG=$(mktemp)
  python -m colcon --log-base log build --symlink-install --paths . \
    --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$VENV/bin/python" "${CMAKE_EXTRA[@]}" >"$BUILD_LOG" 2>&1 ||
    { cat "$BUILD_LOG" >&2; die "colcon build failed; see above"; }
  rm -f "$BUILD_LOG"
  printf '%s\n' "$WANT" >install/.groot_ros_overlay
fi
say "ready: . ./env.sh"
