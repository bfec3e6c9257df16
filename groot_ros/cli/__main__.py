# SPDX-License-Identifier: Apache-2.0
"""Run `groot-ros` as `python -m groot_ros.cli`, where the script is not on PATH."""

import sys

from groot_ros.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
