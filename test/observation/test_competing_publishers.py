# SPDX-License-Identifier: Apache-2.0
"""Two live publishers show in the messages; restarts, losses and shared topics are no conflict."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groot_ros.core import NS_PER_S, s_to_ns
from groot_ros.observation.competing_publishers import (
    AlternatingInstructions,
    CompetingPublishers,
    ExcessRate,
    NumberSeries,
)


def stream(first, rate, begin=0.0, end=1.0, lost=0.0, seed=0):
    """Messages (time in s, number) of one publisher, some of them lost."""
    chance = random.Random(seed)
    count = round((end - begin) * rate)
    sent = [(begin + i / rate, first + i) for i in range(count)]
    return [message for message in sent if chance.random() >= lost]


def first_evidence(*streams):
    """Return the time in s of the first evidence in the merged streams, None without any."""
    series = NumberSeries()
    for at, number in sorted(message for own in streams for message in own):
        if series.record_number(number, s_to_ns(at)):
            return at
    return None


@pytest.mark.parametrize(
    ("first", "second", "rates"),
    [
        (1, 1, (30.0, 30.0)),
        (1000, 1, (30.0, 30.0)),
        (1000, 1003, (30.0, 30.0)),
        (5, 1_000_000, (100.0, 100.0)),
        (1, 1, (30.0, 5.0)),
        (70, 1, (100.0, 4.0)),
        (1, 500, (15.0, 1000.0)),
    ],
)
def test_two_publishers_are_noticed_within_a_second_whatever_their_numbers_and_rates(
    first, second, rates
):
    found = first_evidence(
        stream(first, rates[0], end=3.0), stream(second, rates[1], begin=1.005, end=3.0)
    )
    assert found is not None
    assert 1.0 < found < 2.0


@given(
    st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    st.tuples(st.floats(6.0, 200.0), st.floats(4.0, 200.0)),
    st.floats(0.0, 1.0),
)
def test_a_second_publisher_is_noticed_after_few_of_its_messages(first, rates, begin):
    found = first_evidence(
        stream(first[0], rates[0], end=begin + 3.0),
        stream(first[1], rates[1], begin=begin, end=begin + 3.0),
    )
    assert found is not None
    assert found - begin <= 5.001 / min(rates)


def test_three_publishers_are_noticed():
    streams = [stream(n, 20.0, begin=0.003 * n) for n in (1, 50, 9000)]
    assert first_evidence(*streams) < 0.5


@example(lives=[(3, 0.0), (8, 0.0), (12, 0.0), (14, 0.75)], pause=0.25, rate=30.0, seed=0)
@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(1, 400), st.floats(0.0, 0.95)), min_size=1, max_size=8),
    st.floats(0.2, 1.0),
    st.sampled_from([5.0, 30.0, 250.0]),
    st.integers(0, 1000),
)
def test_restarts_of_a_driver_are_no_conflict_however_many_messages_are_lost(
    lives, pause, rate, seed
):
    """Each life is a number of messages and the share of them that is lost."""
    at, sent = 0.0, []
    for count, lost in lives:
        sent.append(stream(1, rate, begin=at, end=at + count / rate, lost=lost, seed=seed))
        at += count / rate + pause + 0.001
    series = NumberSeries()
    assert not any(series.record_number(n, s_to_ns(t)) for own in sent for t, n in own)


def test_a_driver_that_is_restarted_with_a_shorter_life_each_time_is_no_conflict():
    lives = [stream(1, 100.0, begin=k, end=k + 0.5 - 0.1 * k) for k in range(4)]
    assert first_evidence(*lives) is None


def test_a_publisher_that_joins_for_one_message_is_no_conflict():
    assert first_evidence(stream(100, 30.0), [(0.51, 1)]) is None


def test_a_pause_of_two_seconds_ends_a_series():
    series = NumberSeries()
    given_numbers = [(0.0, 50), (0.1, 1), (2.5, 51), (2.6, 2), (5.0, 52)]
    assert not any(series.record_number(n, s_to_ns(t)) for t, n in given_numbers)


def contested(publishers, at):
    return publishers.contested(s_to_ns(at))


def feed(publishers, *streams):
    """Feed streams of (parts, [(time, number)]) in the order of time."""
    merged = sorted((at, number, parts) for parts, own in streams for at, number in own)
    for at, number, parts in merged:
        publishers.record_message(parts, number, s_to_ns(at))


def test_drivers_of_different_joints_may_share_a_topic():
    publishers = CompetingPublishers(["pan", "lift", "grip"], 0.0)
    feed(
        publishers,
        (("pan", "lift"), stream(1000, 100.0)),
        (("grip", "led"), stream(1003, 100.0, begin=0.004)),
    )
    assert contested(publishers, 1.0) == ()


def test_only_the_joint_that_two_drivers_publish_is_contested():
    publishers = CompetingPublishers(["pan", "lift", "grip"], 0.0)
    feed(
        publishers,
        (("pan", "lift", "grip"), stream(1000, 100.0)),
        (("grip",), stream(1, 50.0, begin=0.004)),
    )
    assert contested(publishers, 1.0) == ("grip",)


def test_joints_that_nobody_needs_are_not_watched():
    publishers = CompetingPublishers(["pan"], 0.0)
    feed(
        publishers,
        (("pan", "wheel"), stream(1000, 100.0)),
        (("wheel",), stream(1, 100.0, begin=0.004)),
    )
    assert contested(publishers, 1.0) == ()


def test_a_conflict_ends_a_second_after_its_last_evidence():
    publishers = CompetingPublishers(["front"], 30.0)
    feed(
        publishers,
        (("front",), stream(1, 30.0, end=4.0)),
        (("front",), stream(1, 30.0, begin=1.0, end=2.0)),
    )
    assert contested(publishers, 2.5) == ("front",)
    assert contested(publishers, 3.1) == ()


@pytest.mark.parametrize(("rate", "found"), [(30.0, False), (40.0, False), (46.0, True)])
def test_without_numbers_half_as_much_again_as_the_contracts_rate_is_evidence(rate, found):
    excess = ExcessRate(30.0)
    seen = [excess.record_arrival(round(i * NS_PER_S / rate)) for i in range(round(2 * rate))]
    assert seen[-1] == found
    assert not any(seen[: round(rate / 4)])


@pytest.mark.parametrize(("rate", "queue"), [(30.0, 5), (100.0, 10), (15.0, 5)])
def test_without_numbers_a_burst_after_a_stall_is_no_evidence(rate, queue):
    excess = ExcessRate(rate)
    before, after = ([start + i / rate for i in range(60)] for start in (0.0, 60 / rate + 0.5))
    burst = [after[0] - 0.001] * queue
    assert not any(excess.record_arrival(s_to_ns(at)) for at in (*before, *burst, *after))


def test_without_numbers_and_without_a_rate_nothing_is_detected():
    publishers = CompetingPublishers(["pan"], 0.0)
    for i in range(1000):
        publishers.record_message(["pan"], None, i)
    assert publishers.contested(1000) == ()


def test_without_numbers_the_joints_of_a_shared_topic_are_counted_separately():
    publishers = CompetingPublishers(["pan", "grip"], 100.0)
    for i in range(200):
        publishers.record_message(["pan"], None, s_to_ns(i / 100))
        publishers.record_message(["grip"], None, s_to_ns(i / 100 + 0.001))
        publishers.record_message(["grip"], None, s_to_ns(i / 100 + 0.005))
    assert contested(publishers, 2.0) == ("grip",)


def disagree(*given_texts):
    """Return whether texts given as (time, text, number) are of two publishers, after each."""
    instructions, found = AlternatingInstructions(), []
    for at, text, number in given_texts:
        instructions.record_instruction(text, number, s_to_ns(at))
        found.append(instructions.contested(s_to_ns(at)))
    return found


def test_two_publishers_that_repeat_other_instructions_once_a_second_disagree():
    texts = [(i / 2, "pick" if i % 2 else "place", i // 2 + 1) for i in range(8)]
    assert disagree(*texts) == [False, False, *[True] * 6]


def test_without_numbers_a_b_a_within_three_seconds_is_a_conflict():
    assert disagree((0.0, "a", None), (1.0, "b", None), (2.9, "a", None))[-1]
    assert not disagree((0.0, "a", None), (1.0, "b", None), (3.1, "a", None))[-1]


def test_an_operator_who_changes_his_mind_twice_is_one_publisher():
    assert not any(disagree((0.0, "a", 4), (1.0, "b", 5), (2.0, "a", 6), (2.5, "b", 7)))


def test_three_different_instructions_are_no_conflict():
    assert not any(disagree((0.0, "a", 1), (0.1, "b", 1), (0.2, "c", 1)))


def test_an_instruction_that_is_repeated_for_long_counts_from_its_last_message():
    repeated = [(float(i), "a", i + 1) for i in range(10)]
    assert disagree(*repeated, (9.5, "b", 1), (10.0, "a", 11))[-1]


def test_a_disagreement_ends_three_seconds_after_the_last_one():
    instructions = AlternatingInstructions()
    for at, text in ((0.0, "a"), (0.5, "b"), (1.0, "a")):
        instructions.record_instruction(text, None, s_to_ns(at))
    assert instructions.contested(s_to_ns(4.0))
    assert not instructions.contested(s_to_ns(4.1))
