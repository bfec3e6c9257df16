# SPDX-License-Identifier: Apache-2.0
"""Conversions of time are exact to the nanosecond."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from groot_ros.core import NS_PER_S, ns_to_s, s_to_ns, time_to_ns


def test_a_thirtieth_of_a_second_is_rounded_to_the_nearest_nanosecond():
    assert s_to_ns(1 / 30) == 33_333_333
    assert s_to_ns(2 / 30) == 66_666_667
    assert s_to_ns(-0.5) == -500_000_000


@given(st.integers(-(10**6) * NS_PER_S, 10**6 * NS_PER_S))
def test_durations_up_to_eleven_days_are_converted_exactly_and_back(nanoseconds):
    assert s_to_ns(ns_to_s(nanoseconds)) == nanoseconds


def test_any_object_with_the_fields_of_a_stamp_is_converted_exactly():
    stamp = SimpleNamespace(sec=1_750_000_000, nanosec=999_999_999)
    assert time_to_ns(stamp) == 1_750_000_000_999_999_999
