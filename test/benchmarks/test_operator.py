# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the operator's commands in a short form: every command takes effect."""

import pytest

from benchmarks import operator

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def test_every_command_takes_effect_on_the_demo_graph(
    ros_domain: int, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.main(["--repetitions", "3", "--load", "0", "--messages", "0"])
    printed = capsys.readouterr().out
    assert "21 of 21" in printed, printed
    assert "service round trip" in printed


def test_quantiles_are_values_that_occurred() -> None:
    values = [float(i) for i in range(100)]
    assert operator.quantile(values, 0.95) == 95.0
    assert operator.quantile([3.0], 0.95) == 3.0
