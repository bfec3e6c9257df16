# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.continuity`."""

from benchmarks.continuity.report import main

if __name__ == "__main__":
    main()
