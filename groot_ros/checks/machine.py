# SPDX-License-Identifier: Apache-2.0
"""Checks of the machine: ROS, DDS, GPU software, memory, space, and real-time limits."""

from collections.abc import Iterator

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.checks.machine_facts import PROFILE, Machine
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core.live_graph import LiveGraph
from groot_ros.core.share import share_directory

#: ROS distributions whose interfaces this package uses.
_DISTRIBUTIONS = ("humble", "jazzy")
#: The RMW implementation whose profile is shipped.
_FAST_DDS = "rmw_fastrtps_cpp"
#: A shared-memory segment must hold several uncompressed images of 640x480 pixels, bytes.
_SMALLEST_SEGMENT = 4 * 2**20
#: Free bytes in /dev/shm: each participant has a segment of 16 MiB.
_SHARED_MEMORY = 64 * 2**20
#: Free bytes on disk: two uncompressed cameras fill this in about 90 s.
_DISK = 5e9
#: Domains whose ports Linux may assign to outgoing connections.
_UNSAFE_DOMAINS = range(102, 215)
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")
#: Resident memory as a share of the weights (buffers, activations and the process itself).
_MEMORY_FACTOR, _MEMORY_BASE = 1.1, 1.0e9
#: Versions of TensorRT that are supported: from, and below.
_TENSORRT = ((10, 3), (12,))


def _ros(machine: Machine) -> Iterator[Problem]:
    if machine.rclpy_error:
        yield Problem("rclpy", f"cannot be imported ({machine.rclpy_error})")


def _distribution(machine: Machine) -> Iterator[Problem]:
    own = machine.variables.get("ROS_DISTRO", "")
    if own not in _DISTRIBUTIONS:
        yield Problem("ROS_DISTRO", f"is {own}" if own else "is not set")


def _rmw(machine: Machine) -> Iterator[Problem]:
    if not machine.rmw:
        raise NotApplicable("the RMW implementation is not known, as rclpy is not there")
    if machine.rmw == "rmw_cyclonedds_cpp":
        note = "" if "CYCLONEDDS_URI" in machine.variables else ", and CYCLONEDDS_URI is not set"
        yield Problem(
            "RMW_IMPLEMENTATION",
            f"is {machine.rmw}{note}: the shipped DDS profile has no effect, large images need "
            "larger buffers, and competing publishers are recognised by their rate only",
        )
    elif machine.rmw != _FAST_DDS:
        yield Problem(
            "RMW_IMPLEMENTATION", f"is {machine.rmw}, with which this package was not tested"
        )


def _profile(machine: Machine) -> Iterator[Problem]:
    """Judge the profile of the running nodes, or that of this shell if there are none."""
    if machine.rmw != _FAST_DDS:
        raise NotApplicable(f"only {_FAST_DDS} reads such a profile")
    processes = [
        (f"{p.name} (pid {p.pid})", p.variables)
        for p in machine.processes
        if (p.variables.get("ROS_DOMAIN_ID") or "0") == machine.domain
    ]
    export = f"export {PROFILE}={share_directory() / 'config' / 'fastdds.xml'}, then restart it"
    for name, variables in processes or [("this shell", machine.variables)]:
        file = variables.get(PROFILE, "")
        if not file:
            yield Problem(name, f"has no {PROFILE}: images are lost on the way", export)
        elif file not in machine.segments:
            yield Problem(name, f"has a {PROFILE} that cannot be read: {file}", export)
        elif machine.segments[file] < _SMALLEST_SEGMENT:
            yield Problem(
                name,
                f"has a {PROFILE} with a shared-memory segment of {machine.segments[file]} bytes, "
                f"less than {_SMALLEST_SEGMENT}: {file}",
                "set segment_size to 16777216, as in config/fastdds.xml",
            )


def _shared_memory(machine: Machine) -> Iterator[Problem]:
    if machine.shared_memory is None:
        raise NotApplicable("this system has no /dev/shm")
    if machine.shared_memory < _SHARED_MEMORY:
        yield Problem(
            "/dev/shm",
            f"has {_mb(machine.shared_memory)} free, less than {_mb(_SHARED_MEMORY)}: images go "
            "through the network stack and are lost",
        )


def _domain(machine: Machine, graph: LiveGraph | None) -> Iterator[Problem]:
    own = machine.domain
    if not own.isdigit() or int(own) > 232:
        yield Problem("ROS_DOMAIN_ID", f"is '{own}', not a number from 0 to 232")
        return
    if int(own) in _UNSAFE_DOMAINS:
        yield Problem(
            "ROS_DOMAIN_ID",
            f"is {own}: Linux may give the ports of this domain to other programs",
            "use a domain from 0 to 101",
        )
    if graph is None or graph.nodes:
        return
    for process in machine.processes:
        other = process.variables.get("ROS_DOMAIN_ID") or "0"
        if process.name in ("policy_node", "executor_node") and other != own:
            yield Problem(
                "ROS_DOMAIN_ID",
                f"is {own}, but {process.name} (pid {process.pid}) has {other}",
                f"export ROS_DOMAIN_ID={other}",
            )


def _discovery_range(machine: Machine) -> Iterator[Problem]:
    own = machine.variables.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if own == "OFF":
        yield Problem("ROS_AUTOMATIC_DISCOVERY_RANGE", "is OFF: no other node is discovered")
    elif own and own not in _RANGES:
        yield Problem(
            "ROS_AUTOMATIC_DISCOVERY_RANGE", f"is '{own}', not one of {', '.join(_RANGES)}"
        )
    for process in machine.processes:
        other = process.variables.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
        if other == "OFF" and process.name in ("policy_node", "executor_node"):
            yield Problem(
                "ROS_AUTOMATIC_DISCOVERY_RANGE",
                f"is OFF for {process.name} (pid {process.pid}): it discovers no other node",
            )


def _torch(machine: Machine) -> Iterator[Problem]:
    version = machine.packages.get("torch", "")
    if not version:
        yield Problem("torch", "is not installed")
    elif machine.gpu_problem:
        yield Problem("GPU", machine.gpu_problem, "see nvidia-smi and dmesg")
    elif machine.gpus and not machine.torch_cuda:
        yield Problem(
            "torch", f"{version} is built without CUDA, so {machine.gpus[0].name} is not used"
        )
    elif machine.gpus and _numbers(machine.torch_cuda)[0] > _numbers(machine.driver_cuda)[0]:
        yield Problem(
            "torch",
            f"{version} is built for CUDA {machine.torch_cuda}, but the driver supports "
            f"{machine.driver_cuda} at most",
            "update the driver, or install torch for an older CUDA",
        )


def _tensorrt(machine: Machine) -> Iterator[Problem]:
    version = machine.packages.get("tensorrt", "")
    if not version:
        raise NotApplicable("TensorRT is not installed")
    oldest, newest = _TENSORRT
    if not oldest <= _numbers(version) < newest:
        yield Problem("TensorRT", f"{version} is not a version from 10.3 to 11")
    elif not machine.gpus:
        yield Problem("TensorRT", f"{version} is installed, but there is no GPU to run it")
    elif not machine.torch_cuda:
        yield Problem("TensorRT", f"{version} runs on torch's buffers, but torch has no CUDA")


def _onnxruntime(machine: Machine) -> Iterator[Problem]:
    cpu, gpu = (machine.packages.get(name) for name in ("onnxruntime", "onnxruntime-gpu"))
    if not cpu and not gpu:
        raise NotApplicable("onnxruntime is not installed")
    if cpu and gpu:
        yield Problem(
            "onnxruntime",
            f"{cpu} and onnxruntime-gpu {gpu} are both installed; their files overwrite each other",
        )


def _gpu_clocks(machine: Machine) -> Iterator[Problem]:
    if not machine.gpus:
        raise NotApplicable("no NVIDIA GPU")
    for gpu in machine.gpus:
        if gpu.throttled:
            yield Problem(
                gpu.name,
                f"is throttled: {', '.join(gpu.throttled)}",
                "improve cooling or power supply",
            )
        if gpu.fixed is False:
            yield Problem(gpu.name, "changes its clock, so the first inferences are slow")


def _power_mode(machine: Machine) -> Iterator[Problem]:
    if not machine.power_mode:
        raise NotApplicable("this machine has no nvpmodel")
    if not machine.power_mode.startswith("MAXN"):
        yield Problem("nvpmodel", f"is {machine.power_mode}, which limits clocks and cores")


def _memory(machine: Machine, weights: int, graph: LiveGraph | None) -> Iterator[Problem]:
    policy = None if graph is None else graph.nodes.get("policy_node")
    if policy is not None and policy.state in ("active", "inactive"):
        raise NotApplicable("the policy has loaded the checkpoint already")
    on_gpu = bool(machine.gpus and machine.torch_cuda)
    available = machine.gpus[0].memory if on_gpu else machine.memory
    needed = _MEMORY_FACTOR * weights + _MEMORY_BASE
    if needed > available:
        yield Problem(
            machine.gpus[0].name if on_gpu else "memory",
            f"has {_mb(available)}, but the checkpoint needs about {_mb(needed)}",
        )


def _disk(machine: Machine) -> Iterator[Problem]:
    if machine.disk < _DISK:
        yield Problem(
            "disk", f"has {_mb(machine.disk)} free in the current directory; a bag fills that soon"
        )


def _realtime(machine: Machine, executor: ExecutorConfig | None) -> Iterator[Problem]:
    wanted = (ExecutorConfig() if executor is None else executor).realtime_priority
    if wanted == 0:
        raise NotApplicable("realtime_priority is 0")
    if machine.realtime_priority < wanted:
        yield Problem(
            "rtprio",
            f"allows the priority {machine.realtime_priority}, less than realtime_priority "
            f"{wanted}: the timer of the executor is late when the machine is busy",
            f"set 'rtprio {wanted}' for this user in /etc/security/limits.conf and log in again",
        )


def _governor(machine: Machine) -> Iterator[Problem]:
    if not machine.governors:
        raise NotApplicable("the kernel does not control the clock of the CPUs")
    slow = [g for g in machine.governors if g != "performance"]
    if slow:
        yield Problem("CPU governor", f"is {', '.join(slow)}: clocks rise only after some load")


def _control_msgs(machine: Machine) -> Iterator[Problem]:
    if not machine.has_control_msgs:
        yield Problem(
            "control_msgs",
            "cannot be imported: inactive controllers and late messages are not detected",
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version; (0,) if there is none."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers) or (0,)


def _mb(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

CHECKS = (
    Check(
        "ros_installed",
        _ERROR,
        "machine",
        "whether rclpy can be imported",
        "source /opt/ros/DISTRO/setup.bash and the workspace, or . ./env.sh",
        ("machine",),
        _ros,
    ),
    Check(
        "ros_distribution",
        _WARNING,
        "machine",
        "ROS_DISTRO with the supported distributions",
        "use humble or jazzy",
        ("machine",),
        _distribution,
    ),
    Check(
        "rmw_implementation",
        _WARNING,
        "machine",
        "the RMW implementation with the tested one",
        "export RMW_IMPLEMENTATION=rmw_fastrtps_cpp in all shells",
        ("machine",),
        _rmw,
    ),
    Check(
        "dds_profile",
        _WARNING,
        "machine",
        "the DDS profile of the nodes on this machine with the size of images",
        f"export {PROFILE}=.../config/fastdds.xml before the camera drivers start "
        "(docs/how-to/cameras.md)",
        ("machine",),
        _profile,
    ),
    Check(
        "shared_memory",
        _WARNING,
        "machine",
        "the space in /dev/shm with the segments of several nodes",
        "start the container with --shm-size=1g, or --ipc=host",
        ("machine",),
        _shared_memory,
    ),
    Check(
        "ros_domain",
        _WARNING,
        "machine",
        "ROS_DOMAIN_ID with valid ones and with those of running nodes",
        "export ROS_DOMAIN_ID=N, the same in all shells",
        ("machine", "graph?"),
        _domain,
    ),
    Check(
        "discovery_range",
        _ERROR,
        "machine",
        "ROS_AUTOMATIC_DISCOVERY_RANGE with its values",
        "unset it, or set it to SUBNET or LOCALHOST, before the nodes start",
        ("machine",),
        _discovery_range,
    ),
    Check(
        "torch_cuda",
        _ERROR,
        "machine",
        "the CUDA version of torch with GPU and driver",
        "install torch for the CUDA version of the driver (docs/how-to/install.md)",
        ("machine",),
        _torch,
    ),
    Check(
        "tensorrt_version",
        _WARNING,
        "machine",
        "TensorRT with the supported versions, GPU and torch",
        "install a supported version (docs/how-to/engines.md), or ignore this if it is not used",
        ("machine",),
        _tensorrt,
    ),
    Check(
        "onnxruntime_version",
        _WARNING,
        "machine",
        "the packages of onnxruntime with each other",
        "uninstall both, then install one of them",
        ("machine",),
        _onnxruntime,
    ),
    Check(
        "gpu_clocks",
        _WARNING,
        "machine",
        "the clock of the GPU with its maximum",
        "sudo jetson_clocks",
        ("machine",),
        _gpu_clocks,
    ),
    Check(
        "power_mode",
        _WARNING,
        "machine",
        "the power mode of a Jetson with MAXN",
        "sudo nvpmodel -m 0 (docs/how-to/jetson.md)",
        ("machine",),
        _power_mode,
    ),
    Check(
        "memory",
        _ERROR,
        "machine",
        "the memory with the weights of the checkpoint",
        "close other programs, or use a machine with more memory",
        ("machine", "weights", "graph?"),
        _memory,
    ),
    Check(
        "disk_space",
        _WARNING,
        "machine",
        "the space in the current directory with the size of a bag",
        "free some space, or record to another disk",
        ("machine",),
        _disk,
    ),
    Check(
        "realtime_limits",
        _WARNING,
        "machine",
        "rtprio and CAP_SYS_NICE with realtime_priority",
        "allow it in /etc/security/limits.conf",
        ("machine", "executor?"),
        _realtime,
    ),
    Check(
        "cpu_governor",
        _WARNING,
        "machine",
        "the CPU governor with performance",
        "sudo cpupower frequency-set -g performance",
        ("machine",),
        _governor,
    ),
    Check(
        "control_msgs",
        _WARNING,
        "machine",
        "the Python packages with those that reports of controllers need",
        "install control_msgs (apt: ros-DISTRO-control-msgs) for this Python",
        ("machine",),
        _control_msgs,
    ),
)
