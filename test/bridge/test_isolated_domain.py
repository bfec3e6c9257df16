# SPDX-License-Identifier: Apache-2.0
"""An isolated domain has no participants, and only one process can reserve it."""

import os
import socket
import subprocess
import sys

import pytest
import rclpy

from groot_ros.bridge.isolated_domain import IsolatedDomain, use_isolated_domain


def found(first: int) -> int:
    """Return the domain that a search finds, without keeping it."""
    with IsolatedDomain(first) as domain:
        return domain.number


@pytest.mark.parametrize("offset", [0, 10, 12, 58, 249])
def test_a_domain_whose_ports_are_bound_is_skipped(offset: int) -> None:
    first = found(40)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 7400 + offset + 250 * first))
        assert found(first - 1) != first
    assert found(first - 1) == first


def test_a_domain_is_reserved_until_it_is_closed_or_its_process_dies() -> None:
    code = (
        "import sys; from groot_ros.bridge.isolated_domain import IsolatedDomain; "
        "kept = IsolatedDomain(60); print(kept.number, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = int(other.stdout.readline())
        with IsolatedDomain(theirs - 1) as ours:
            assert ours.number != theirs
            assert found(ours.number - 1) != ours.number
        other.kill()
    assert found(theirs - 1) == theirs


@pytest.mark.ros
def test_a_domain_with_a_real_node_in_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, "")
    domain = use_isolated_domain()
    assert os.environ["ROS_DOMAIN_ID"] == str(domain.number)
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    rclpy.init(domain_id=domain.number)
    try:
        node = rclpy.create_node("occupant")
        domain.close()
        assert found(domain.number - 1) != domain.number
        node.destroy_node()
    finally:
        rclpy.shutdown()


def test_without_a_free_domain_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ros.bridge.isolated_domain.has_participants", lambda domain: True)
    with pytest.raises(RuntimeError, match="every ROS domain from 1 to 101 is in use"):
        IsolatedDomain(7)


@pytest.mark.parametrize("first", [0, 100, 101, 4_194_304])
def test_any_process_id_leads_to_a_domain_with_usable_ports(first: int) -> None:
    assert 1 <= found(first) <= 101
