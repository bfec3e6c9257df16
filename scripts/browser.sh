#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install Chromium and its driver for the tests marked `browser`, where they are missing.
# Those tests are skipped without it, so a failure here is no reason to stop.
set -euo pipefail

installed() {
  command -v chromedriver >/dev/null &&
    { command -v chromium || command -v google-chrome; } >/dev/null
}

installed && exit 0
APT=(apt-get install -y --no-install-recommends chromium chromium-driver)
if [[ $(id -u) == 0 ]]; then SUDO=(); else SUDO=(sudo -n); fi
LOG=$(mktemp)
printf '[browser] installing chromium and chromium-driver\n'
if ! { timeout 120 ${SUDO[@]+"${SUDO[@]}"} apt-get -q update && timeout 300 ${SUDO[@]+"${SUDO[@]}"} "${APT[@]}"; } >"$LOG" 2>&1 ||
  ! installed; then
  tail -n 5 "$LOG" >&2
  printf '[browser] no browser was installed: install chromium and chromedriver yourself\n' >&2
  exit 1
fi
rm -f "$LOG"
