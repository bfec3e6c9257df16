# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.inference`."""

from benchmarks.inference.report import main

if __name__ == "__main__":
    main()
