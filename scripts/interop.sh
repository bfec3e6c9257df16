#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install LeRobot's own reader and lerobot-doctor into .venv-interop; fast when nothing changed.
# It sees the packages of .venv (torch, numpy, pyarrow) and replaces only those that are too new.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=$PWD/.venv-interop
WANT=$( { cat scripts/interop.sh; .venv/bin/python -V; pwd; } | sha256sum)
[[ $(cat "$VENV/.groot_ros_packages" 2>/dev/null) != "$WANT" ]] || exit 0
printf '\033[1m[interop]\033[0m %s\n' "installing LeRobot's reader into .venv-interop"
LOG=$(mktemp)
install() {
  set -e
  rm -rf "$VENV"
  local flags=()
  if grep -q 'include-system-site-packages = true' .venv/pyvenv.cfg; then
    flags=(--system-site-packages)
  fi
  .venv/bin/python -m venv ${flags[@]+"${flags[@]}"} "$VENV"
  touch "$VENV/COLCON_IGNORE"
  local own shared
  own=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  shared=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$shared" >"$own/groot_ros.pth"
  local pip=("$VENV/bin/python" -m pip --disable-pip-version-check install)
  # Without their dependencies: those would install OpenCV, CMake and another torch. Of torchvision
  # only its Python files are used; this is the last version that reads videos with PyAV.
  "${pip[@]}" --no-deps lerobot-dataset==0.4.4 lerobot-doctor==0.2.0 torchvision==0.21.0
  "${pip[@]}" 'av<16' 'datasets>=4,<4.2' 'huggingface-hub<0.36' 'packaging<26' \
    deepdiff imageio jsonlines pandas requests rich termcolor
}
# In a subshell without `if`, so that every command in it may end it.
set +e; ( install ) >"$LOG" 2>&1; STATUS=$?; set -e
if ((STATUS)); then
  cat "$LOG" >&2
  printf '[interop] %s\n' "installation failed; see above" >&2
else
  printf '%s\n' "$WANT" >"$VENV/.groot_ros_packages"
fi
rm -f "$LOG"
exit "$STATUS"
