#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the interfaces of control_msgs that the tests need, where control_msgs is not installed.
# `make setup` calls it after scripts/setup.sh, and `make demo` does not; fast when nothing changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
set +u; . ./env.sh; set -u

PACKAGE=control_msgs
SOURCES=test/interfaces/$PACKAGE
# This shell has the overlay on its path, whose copy does not count as installed.
OTHER_PATHS=$(tr : '\n' <<<"$PYTHONPATH" | { grep -v "^$PWD/install/" || true; } | paste -sd:)
if PYTHONPATH=$OTHER_PATHS python -c "import $PACKAGE.msg" 2>/dev/null; then
  rm -rf "install/$PACKAGE" "build/$PACKAGE"   # it would hide the installed package
  exit
fi

WANT=$( { find "$SOURCES" -type f -print0 | sort -z | xargs -0 cat; cat cmake/ros_wheels.cmake; pwd; python -V; } | sha256sum)
[[ $(cat "install/$PACKAGE/.built_from" 2>/dev/null) != "$WANT" ]] || exit 0
printf '\033[1m[setup]\033[0m %s\n' "building the interfaces of $PACKAGE for the tests"
CMAKE_EXTRA=()
[[ -f .venv/share/rosidl_cmake/package.xml ]] &&
  CMAKE_EXTRA=("-DCMAKE_PROJECT_INCLUDE=$PWD/cmake/ros_wheels.cmake")
LOG=$(mktemp)
python -m colcon --log-base log build --paths "$SOURCES" \
  --cmake-args -DBUILD_TESTING=OFF "-DPython3_EXECUTABLE=$PWD/.venv/bin/python" \
  ${CMAKE_EXTRA[@]+"${CMAKE_EXTRA[@]}"} >"$LOG" 2>&1 ||
  { cat "$LOG" >&2; printf '[setup] %s\n' "colcon build of $SOURCES failed; see above" >&2; exit 1; }
rm -f "$LOG"
printf '%s\n' "$WANT" >"install/$PACKAGE/.built_from"
