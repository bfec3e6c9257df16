# SPDX-License-Identifier: Apache-2.0
"""Facts of a machine, read from files of the kernel."""

from pathlib import Path

import pytest

from groot_ros.checks.machine_facts import PROFILE, read_machine, segment_bytes
from groot_ros.core.share import share_directory

SHIPPED = share_directory() / "config" / "fastdds.xml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a machine with a GPU that is not fixed, one CPU and three processes."""
    write(tmp_path / "proc/meminfo", "MemTotal: 900 kB\nMemAvailable:     500 kB\n")
    write(tmp_path / "proc/self/status", "CapEff:\t0000000000000000\n")
    write(tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    own = ["/venv/bin/python", "-m", "groot_ros.nodes", "policy_node", "--ros-args", "-p", "a:=b"]
    process(tmp_path, 10, own, {"ROS_DOMAIN_ID": "5", PROFILE: str(SHIPPED), "HOME": "/root"})
    process(tmp_path, 11, ["/opt/ros/lib/usb_cam/usb_cam_node_exe", "--ros-args"], {"PATH": "/"})
    process(tmp_path, 12, ["python3", "/opt/lib/driver", "x"], {"ROS_DOMAIN_ID": "5"})
    return tmp_path


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def process(root: Path, pid: int, arguments: list[str], environment: dict[str, str]) -> None:
    write(root / f"proc/{pid}/cmdline", "\0".join(arguments) + "\0")
    pairs = [f"{name}={value}" for name, value in environment.items()]
    write(root / f"proc/{pid}/environ", "\0".join(pairs) + "\0")


def test_facts_of_the_kernel_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)
    machine = read_machine(root, rmw="rmw_fastrtps_cpp", rclpy_error="none")
    assert machine.domain == "7"
    assert (machine.rmw, machine.rclpy_error) == ("rmw_fastrtps_cpp", "none")
    assert machine.memory == 500 * 1024
    assert machine.governors == ("powersave",)
    assert machine.shared_memory is None
    assert machine.disk > 0
    assert machine.packages["torch"][0].isdigit()


def test_processes_of_nodes_are_found_with_their_variables(root: Path) -> None:
    first, second = read_machine(root).processes
    assert (first.pid, first.name) == (10, "policy_node")
    assert first.variables == {"ROS_DOMAIN_ID": "5", PROFILE: str(SHIPPED)}
    assert (second.pid, second.name, second.variables) == (11, "usb_cam_node_exe", {})


def test_a_capability_permits_every_priority(root: Path) -> None:
    write(root / "proc/self/status", "CapEff:\t0000000000800000\n")
    assert read_machine(root).realtime_priority == 99


def test_the_segment_of_each_profile_is_read(root: Path, tmp_path: Path) -> None:
    assert read_machine(root).segments == {str(SHIPPED): 16 * 2**20}
    write(tmp_path / "empty.xml", "<dds/>")
    assert segment_bytes(str(tmp_path / "empty.xml")) == 0
    assert segment_bytes(str(tmp_path / "missing.xml")) is None


def test_tools_of_nvidia_tell_power_mode_and_a_missing_driver_is_no_gpu(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_machine(root).power_mode == ""
    tool = root / "bin" / "nvpmodel"
    write(tool, "#!/bin/sh\necho 'NV Power Mode: 15W'\necho 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    assert read_machine(root).power_mode == "15W"
