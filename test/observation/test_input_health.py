# SPDX-License-Identifier: Apache-2.0
"""Rates fall when a stream stops, and latency quantiles forget outliers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ros.observation.input_health import LatencyWindow, RateMeter

MS = 1_000_000


def test_a_steady_stream_has_its_rate_from_the_second_event_on():
    meter = RateMeter()
    for i in range(200):
        meter.record_event(i * 20 * MS)
        if i:
            assert meter.rate(i * 20 * MS) == pytest.approx(50.0)
    assert meter.count == 200


def test_the_rate_of_a_stream_that_stops_is_zero_after_the_window():
    meter = RateMeter()
    for i in range(100):
        meter.record_event(i * 20 * MS)
    end = 99 * 20 * MS
    assert meter.rate(end + 1000 * MS) == pytest.approx(25.0, rel=0.05)
    assert meter.rate(end + 2000 * MS) == 0.0


def test_without_a_second_event_the_rate_is_zero():
    meter = RateMeter()
    assert meter.rate(5) == 0.0
    meter.record_event(10)
    assert meter.rate(10 + MS) == 0.0


def test_a_clock_that_jumps_back_restarts_the_measurement():
    meter = RateMeter()
    for now in (5000, 5100, 100, 200, 300):
        meter.record_event(now * MS)
    assert meter.rate(300 * MS) == pytest.approx(10.0)


def test_the_first_durations_are_skipped():
    window = LatencyWindow(size=10, warm_up=2)
    for seconds in (9.0, 9.0, 0.1, 0.2, 0.3, 0.4):
        window.record_latency(seconds)
    assert (window.quantile(0.5), window.quantile(0.95)) == (0.2, 0.4)


def test_an_outlier_leaves_the_window():
    window = LatencyWindow(size=3, warm_up=0)
    for seconds in (9.0, 0.1, 0.1, 0.1):
        window.record_latency(seconds)
    assert window.quantile(1.0) == 0.1


def test_an_empty_window_has_quantile_zero():
    assert LatencyWindow().quantile(0.95) == 0.0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_quantile_is_not_exceeded_by_its_share_and_is_the_smallest_such(durations, share):
    window = LatencyWindow(warm_up=0)
    for seconds in durations:
        window.record_latency(seconds)
    value = window.quantile(share)
    assert sum(d <= value for d in durations) >= share * len(durations) - 1e-9
    assert sum(d < value for d in durations) < share * len(durations) + 1e-9
