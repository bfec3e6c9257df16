# SPDX-License-Identifier: Apache-2.0
"""One list of checks whether checkpoint, robot contract and parameters go together.

`groot-ros inspect`, the policy's configure and the executor's configure run the same list, each
with what it knows. A check that finds an error makes `inspect` exit with 1 and configure fail; a
warning is printed or logged.
"""

from groot_ros.checks.check import Check, CheckError, Context, Finding, Problem, Severity
from groot_ros.checks.run import CHECKS, find_problems, require

__all__ = [
    "CHECKS",
    "Check",
    "CheckError",
    "Context",
    "Finding",
    "Problem",
    "Severity",
    "find_problems",
    "require",
]
