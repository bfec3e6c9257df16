# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest

from groot_ros.bags.qos import Request


@pytest.mark.parametrize(
    ("offers", "request_"),
    [
        ([(True, False)], Request(reliable=True, latched=False)),
        ([(True, True)], Request(reliable=True, latched=True)),
        ([(False, False)], Request(reliable=False, latched=False)),
        ([(True, True), (False, True)], Request(reliable=False, latched=True)),
        ([(True, True), (True, False)], Request(reliable=True, latched=False)),
    ],
)
def test_the_request_is_the_strongest_that_all_offers_satisfy(make_offer, offers, request_):
    assert Request.matching([make_offer(reliable=r, latched=d) for r, d in offers]) == request_


def test_a_request_receives_exactly_the_offers_that_are_not_weaker(make_offer):
    for asked_reliable, asked_latched, reliable, latched in itertools.product(
        [False, True], repeat=4
    ):
        asked = Request(reliable=asked_reliable, latched=asked_latched)
        compatible = (reliable or not asked_reliable) and (latched or not asked_latched)
        assert asked.receives_all([make_offer(reliable=reliable, latched=latched)]) == compatible
