# SPDX-License-Identifier: Apache-2.0
"""Each check of the machine: facts with which it finds something, and others with which not."""

from dataclasses import replace

import pytest

from groot_ros.checks import Context, Severity, machine, ros_environment, verdicts
from groot_ros.checks.machine_facts import PROFILE, Gpu, Machine, RosProcess
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core.live_graph import LiveGraph, LiveNode

FILE = "/share/config/fastdds.xml"
GB = 10**9
GPU = Gpu("GPU 0", 8 * GB)
ORIN = Gpu("Orin", 60 * GB, fixed=True)
HEALTHY = Machine(
    variables={"ROS_DISTRO": "jazzy", "ROS_DOMAIN_ID": "7", PROFILE: FILE},
    rmw="rmw_fastrtps_cpp",
    packages={"torch": "2.9.0", "onnxruntime": "1.23.0", "tensorrt": "10.13.3.9"},
    torch_cuda="12.8",
    driver_cuda="12.9",
    gpus=(ORIN,),
    power_mode="MAXN_SUPER",
    memory=32 * GB,
    disk=100 * GB,
    shared_memory=GB,
    realtime_priority=98,
    governors=("performance",),
    segments={FILE: 16 * 2**20},
)
WITHOUT = {"gpus": (), "torch_cuda": "", "driver_cuda": "", "packages": {"torch": "2.9.0+cpu"}}


def node(pid: int, name: str, **variables: str) -> RosProcess:
    return RosProcess(pid, name, {"ROS_DOMAIN_ID": "7", **variables})


def verdict(name: str, facts_of: Machine, **facts):
    (found,) = [v for v in verdicts(Context(machine=facts_of, **facts)) if v.check.name == name]
    return found


def with_variables(**changes: str) -> dict[str, dict[str, str]]:
    return {"variables": {**HEALTHY.variables, **changes}}


FAULTS = [
    ("ros_installed", {"rclpy_error": "No module named 'rclpy'"}, "No module named 'rclpy'"),
    ("ros_distribution", with_variables(ROS_DISTRO="foxy"), "ROS_DISTRO is foxy"),
    ("ros_distribution", {"variables": {}}, "ROS_DISTRO is not set"),
    ("rmw_implementation", {"rmw": "rmw_cyclonedds_cpp"}, "and CYCLONEDDS_URI is not set"),
    ("rmw_implementation", {"rmw": "rmw_zenoh_cpp"}, "with which this package was not tested"),
    ("dds_profile", {"variables": {"ROS_DISTRO": "jazzy"}}, f"this shell has no {PROFILE}"),
    ("dds_profile", {"segments": {}}, f"that cannot be read: {FILE}"),
    ("dds_profile", {"segments": {FILE: 512 * 1024}}, "shared-memory segment of 524288 bytes"),
    ("dds_profile", {"processes": (node(12, "camera"),)}, f"camera (pid 12) has no {PROFILE}"),
    ("shared_memory", {"shared_memory": 60 * 10**6}, "/dev/shm has 60 MB free"),
    ("ros_domain", with_variables(ROS_DOMAIN_ID="x"), "is 'x', not a number from 0 to 232"),
    ("ros_domain", with_variables(ROS_DOMAIN_ID="233"), "is '233', not a number"),
    ("domain_choice", with_variables(ROS_DOMAIN_ID="120"), "may give the ports of this domain"),
    (
        "domain_choice",
        {"processes": (node(9, "policy_node", ROS_DOMAIN_ID="3"),)},
        "is 7, but policy_node (pid 9) has 3",
    ),
    (
        "discovery_range",
        with_variables(ROS_AUTOMATIC_DISCOVERY_RANGE="OFF"),
        "no other node is discovered",
    ),
    ("discovery_range", with_variables(ROS_AUTOMATIC_DISCOVERY_RANGE="ALL"), "'ALL', not one of"),
    (
        "discovery_range",
        {"processes": (node(9, "executor_node", ROS_AUTOMATIC_DISCOVERY_RANGE="OFF"),)},
        "is OFF for executor_node (pid 9)",
    ),
    ("torch_cuda", {"packages": {}}, "torch is not installed"),
    ("torch_cuda", {"torch_cuda": ""}, "is built without CUDA, so Orin is not used"),
    ("torch_cuda", {"driver_cuda": "11.4"}, "CUDA 12.8, but the driver supports 11.4"),
    ("torch_cuda", {"gpus": (), "gpu_problem": "the driver fails"}, "GPU the driver fails"),
    ("tensorrt_version", {"packages": {"tensorrt": "8.6.1"}}, "8.6.1 is not a version from 10.3"),
    ("tensorrt_version", {"packages": {"tensorrt": "12.0"}}, "12.0 is not a version from 10.3"),
    ("tensorrt_version", {"gpus": ()}, "there is no GPU to run it"),
    ("tensorrt_version", {"torch_cuda": ""}, "torch has no CUDA"),
    (
        "onnxruntime_version",
        {"packages": {"onnxruntime": "1.23.0", "onnxruntime-gpu": "1.22.0"}},
        "1.23.0 and onnxruntime-gpu 1.22.0 are both installed",
    ),
    (
        "gpu_clocks",
        {"gpus": (replace(GPU, throttled=("sw_thermal_slowdown",)),)},
        "GPU 0 is throttled: sw_thermal_slowdown",
    ),
    ("gpu_clocks", {"gpus": (replace(ORIN, fixed=False),)}, "Orin changes its clock"),
    ("power_mode", {"power_mode": "15W"}, "nvpmodel is 15W"),
    ("memory", {"gpus": (GPU,)}, "GPU 0 has 8.0 GB, but the checkpoint needs about 12.0 GB"),
    ("memory", {**WITHOUT, "memory": 9 * GB}, "memory has 9.0 GB, but the checkpoint needs"),
    ("disk_space", {"disk": 4.9e9}, "disk has 4.9 GB free"),
    ("realtime_limits", {"realtime_priority": 0}, "the priority 0, less than realtime_priority 20"),
    ("cpu_governor", {"governors": ("performance", "powersave")}, "CPU governor is powersave"),
    ("control_msgs", {"has_control_msgs": False}, "control_msgs cannot be imported"),
]


@pytest.mark.parametrize(
    "check", [*ros_environment.CHECKS, *machine.CHECKS], ids=lambda check: check.name
)
def test_a_healthy_machine_passes_and_each_check_has_a_fault(check) -> None:
    found = verdict(check.name, HEALTHY, weights=10 * GB)
    assert (found.findings, found.skipped) == ((), "")
    assert check.name in {name for name, _, _ in FAULTS}


@pytest.mark.parametrize(("name", "changes", "text"), FAULTS)
def test_a_fault_of_the_machine_is_found_with_a_remedy(name, changes, text) -> None:
    found = verdict(name, replace(HEALTHY, **changes), weights=10 * GB, graph=LiveGraph())
    assert len(found.findings) == 1
    assert text in found.findings[0].text
    assert len(found.findings[0].remedy) > 5


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("rmw_implementation", {"rmw": ""}, "rclpy is not there"),
        ("dds_profile", {"rmw": "rmw_cyclonedds_cpp"}, "only rmw_fastrtps_cpp reads"),
        ("shared_memory", {"shared_memory": None}, "no /dev/shm"),
        ("tensorrt_version", WITHOUT, "TensorRT is not installed"),
        ("onnxruntime_version", WITHOUT, "onnxruntime is not installed"),
        ("gpu_clocks", WITHOUT, "no NVIDIA GPU"),
        ("power_mode", {"power_mode": ""}, "no nvpmodel"),
        ("cpu_governor", {"governors": ()}, "does not control the clock"),
    ],
)
def test_a_check_that_does_not_apply_says_why(name, changes, reason) -> None:
    found = verdict(name, replace(HEALTHY, **changes), weights=GB)
    assert found.findings == ()
    assert reason in found.skipped


def test_a_machine_without_gpu_runs_a_build_of_torch_without_cuda() -> None:
    assert verdict("torch_cuda", replace(HEALTHY, **WITHOUT)).findings == ()


def test_the_profile_of_running_nodes_counts_not_that_of_the_shell() -> None:
    plain = replace(HEALTHY, variables={"ROS_DISTRO": "jazzy", "ROS_DOMAIN_ID": "7"})
    nodes = (node(1, "policy_node", **{PROFILE: FILE}), node(2, "other", ROS_DOMAIN_ID="8"))
    assert len(verdict("dds_profile", plain).findings) == 1
    assert verdict("dds_profile", replace(plain, processes=nodes)).findings == ()


def test_another_domain_is_no_finding_once_nodes_are_found_in_this_one() -> None:
    two = replace(HEALTHY, processes=(node(9, "policy_node", ROS_DOMAIN_ID="3"),))
    graph = LiveGraph(nodes={"policy_node": LiveNode("/policy_node", state="active")})
    assert verdict("domain_choice", two, graph=graph).findings == ()


def test_the_memory_of_a_loaded_policy_and_a_priority_of_zero_are_not_judged() -> None:
    graph = LiveGraph(nodes={"policy_node": LiveNode("/policy_node", state="active")})
    loaded = verdict("memory", replace(HEALTHY, gpus=(GPU,)), weights=10 * GB, graph=graph)
    assert loaded.skipped == "the policy has loaded the checkpoint already"
    weak = replace(HEALTHY, realtime_priority=0)
    off = verdict("realtime_limits", weak, executor=ExecutorConfig(realtime_priority=0))
    assert off.skipped == "realtime_priority is 0"
    assert off.check.severity is Severity.WARNING
