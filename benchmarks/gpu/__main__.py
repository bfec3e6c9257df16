# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.gpu`."""

import sys

from benchmarks.gpu.report import main

if __name__ == "__main__":
    sys.exit(main())
