# SPDX-License-Identifier: Apache-2.0
"""The list of all checks, and how to run it."""

from groot_ros.checks import chunk_timing, fit, input_rates, trained_range
from groot_ros.checks.check import CheckError, Context, Finding, Severity

#: All checks, errors of fit first.
CHECKS = (*fit.CHECKS, *trained_range.CHECKS, *input_rates.CHECKS, *chunk_timing.CHECKS)


def find_problems(context: Context) -> list[Finding]:
    """Return the findings of all checks that apply to what is known, errors first."""
    found = [finding for check in CHECKS for finding in check.run(context)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def require(context: Context) -> list[Finding]:
    """Return the warnings of all checks that apply.

    Raises:
        CheckError: a check has found an error.

    """
    found = find_problems(context)
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if errors:
        raise CheckError(errors)
    return found
