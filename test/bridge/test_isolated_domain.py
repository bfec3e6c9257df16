"""Whoever wants a domain of his own gets one that nobody is in, and nobody else gets it."""

import os
import socket
import subprocess
import sys

import pytest
import rclpy

from groot_ros.bridge.isolated_domain import IsolatedDomain, use_isolated_domain


def found(first: int) -> int:
    """Where a search ends that keeps nothing."""
    with IsolatedDomain(first) as domain:
        return domain.number


@pytest.mark.parametrize("offset", [0, 10])
def test_a_domain_whose_ports_are_bound_is_passed_over(offset: int) -> None:
    first = found(40)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 7400 + offset + 250 * first))
        assert found(first - 1) != first
    assert found(first - 1) == first


def test_a_domain_is_nobody_elses_until_it_is_closed_or_its_process_dies() -> None:
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
def test_a_domain_with_a_real_node_in_it_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, "")
    kept: list[IsolatedDomain] = []
    monkeypatch.setattr("groot_ros.bridge.isolated_domain._kept", kept)
    domain = use_isolated_domain()
    assert os.environ["ROS_DOMAIN_ID"] == str(domain)
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    rclpy.init(domain_id=domain)
    try:
        node = rclpy.create_node("occupant")
        kept[0].close()
        assert found(domain - 1) != domain
        node.destroy_node()
    finally:
        rclpy.shutdown()


def test_no_free_domain_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ros.bridge.isolated_domain._taken", lambda domain: True)
    with pytest.raises(RuntimeError, match="every ROS domain from 1 to 101 is in use"):
        IsolatedDomain(7)


@pytest.mark.parametrize("first", [0, 100, 101, 4_194_304])
def test_any_process_id_leads_to_a_domain_that_linux_allows(first: int) -> None:
    assert 1 <= found(first) <= 101
