# SPDX-License-Identifier: Apache-2.0
"""Environment and fixtures of all tests: ROS 2 with the built messages, isolated DDS domains."""

import faulthandler
import importlib.util
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.reference_tokenizer import write_reference_tokenizer

_DOMAINS = itertools.count(os.getpid())
#: s until a test that hangs in code that no signal interrupts ends its process. The time limit of
#: pyproject.toml, which only fails the test, comes first; no test takes a minute.
_HANGS_AFTER = 240.0
_STDERR = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
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
    # nohup ignores it, and child processes would inherit that: tests of SIGHUP would wait forever.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        config.stash[_STDERR] = os.dup(2)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End this process, with the traces of all threads, if a test hangs; xdist reports it."""
    stderr = item.config.stash[_STDERR]
    faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True, file=stderr)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Set a ROS_DOMAIN_ID that is unused on this machine, for this process and its children."""
    # Imported here: without the package, pytest_configure has to report that first.
    from groot_ros.bridge.isolated_domain import IsolatedDomain

    with IsolatedDomain(next(_DOMAINS)) as domain:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain.number))
        yield domain.number


@pytest.fixture(scope="session")
def reference_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the reduced reference tokenizer; read-only."""
    return write_reference_tokenizer(tmp_path_factory.mktemp("reference_tokenizer"))
