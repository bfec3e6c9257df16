"""Whoever wants a domain of his own gets one that nobody is in."""

import os
import socket

import pytest
import rclpy

from groot_ros.bridge.own_domain import free_domain, use_own_domain


@pytest.mark.parametrize("offset", [0, 10])
def test_a_domain_whose_ports_are_bound_is_passed_over(offset: int) -> None:
    first = free_domain(40)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("", 7400 + offset + 250 * first))
        assert free_domain(first - 1) != first
    assert free_domain(first - 1) == first


@pytest.mark.ros
def test_a_domain_with_a_real_node_in_it_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, "")
    domain = use_own_domain()
    assert os.environ["ROS_DOMAIN_ID"] == str(domain)
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    rclpy.init(domain_id=domain)
    try:
        node = rclpy.create_node("occupant")
        assert free_domain(domain - 1) != domain
        node.destroy_node()
    finally:
        rclpy.shutdown()


def test_no_free_domain_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ros.bridge.own_domain._taken", lambda domain: True)
    with pytest.raises(RuntimeError, match="every ROS domain from 1 to 101 is in use"):
        free_domain(7)


@pytest.mark.parametrize("first", [0, 100, 101, 4_194_304])
def test_any_process_id_leads_to_a_domain_that_linux_allows(first: int) -> None:
    assert 1 <= free_domain(first) <= 101
