# SPDX-License-Identifier: Apache-2.0
"""The list of all checks, and how to run it."""

from groot_ros.checks import (
    chunk_timing,
    fit,
    input_rates,
    live_inputs,
    live_labels,
    live_nodes,
    live_range,
    machine,
    ros_environment,
    table,
    trained_range,
)
from groot_ros.checks.check import CheckError, Context, Finding, Severity, Verdict

#: All checks: of checkpoint, contract and parameters, errors of fit first; then those that only
#: `groot-ros doctor` has the facts for.
CHECKS = (
    *fit.CHECKS,
    *table.CHECKS,
    *trained_range.CHECKS,
    *input_rates.CHECKS,
    *chunk_timing.CHECKS,
    *ros_environment.CHECKS,
    *machine.CHECKS,
    *live_nodes.CHECKS,
    *live_inputs.CHECKS,
    *live_labels.CHECKS,
    *live_range.CHECKS,
)


def find_problems(context: Context) -> list[Finding]:
    """Return the findings of all checks that apply to what is known, errors first."""
    found = [finding for check in CHECKS for finding in check.run(context)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def verdicts(context: Context) -> list[Verdict]:
    """Return the verdict of every check, also of those that were skipped."""
    return [check.verdict(context) for check in CHECKS]


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
