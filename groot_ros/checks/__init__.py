# SPDX-License-Identifier: Apache-2.0
"""One list of checks whether checkpoint, contract, parameters, machine and graph go together.

`groot-ros inspect`, `groot-ros doctor`, the policy's configure and the executor's configure run the
same list, each with what it knows. A check that finds an error makes the command exit with 1 and
configure fail; a warning is printed or logged.
"""

from groot_ros.checks.check import (
    Check,
    CheckError,
    Context,
    Finding,
    NotApplicable,
    Problem,
    Severity,
    Verdict,
)
from groot_ros.checks.run import CHECKS, find_problems, require, verdicts

__all__ = [
    "CHECKS",
    "Check",
    "CheckError",
    "Context",
    "Finding",
    "NotApplicable",
    "Problem",
    "Severity",
    "Verdict",
    "find_problems",
    "require",
    "verdicts",
]
