"""What every test may rely on: the built overlay, and a DDS domain of its own."""

import importlib.util
import itertools
import os
from collections.abc import Iterator

import pytest

_DOMAINS = itertools.count(os.getpid())


def pytest_configure() -> None:
    if (
        importlib.util.find_spec("rclpy") is None
        or importlib.util.find_spec("groot_ros.msg") is None
    ):
        pytest.exit(
            "ROS 2 or the built messages are not on the path: run `make test`, "
            "or `make setup` once and then `. ./env.sh` in this shell",
            returncode=4,
        )
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ.setdefault("MUJOCO_GL", "osmesa")


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A ROS_DOMAIN_ID that nobody on this machine uses, for this process and its children."""
    # Here, for without the package pytest_configure is to say so.
    from groot_ros.bridge.isolated_domain import IsolatedDomain

    with IsolatedDomain(next(_DOMAINS)) as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain.number))
        yield domain.number
