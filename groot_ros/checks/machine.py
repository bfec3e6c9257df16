# SPDX-License-Identifier: Apache-2.0
"""Checks of the machine: GPU and its software, memory, space, and real-time limits."""

from collections.abc import Iterator

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.checks.machine_facts import Machine, size_text
from groot_ros.control.settings import ExecutorConfig
from groot_ros.core.live_graph import LiveGraph

#: Free bytes on disk: two uncompressed cameras fill this in about 90 s.
_DISK = 5e9
#: Resident memory as a share of the weights (buffers, activations and the process itself).
_MEMORY_FACTOR, _MEMORY_BASE = 1.1, 1.0e9
#: Versions of TensorRT that are supported: from, and below.
_TENSORRT = ((10, 3), (12,))


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
            f"has {size_text(available)}, but the checkpoint needs about {size_text(needed)}",
        )


def _disk(machine: Machine) -> Iterator[Problem]:
    if machine.disk < _DISK:
        yield Problem(
            "disk",
            f"has {size_text(machine.disk)} free in the current directory; a bag fills that soon",
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


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version; (0,) if there is none."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers) or (0,)


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

CHECKS = (
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
)
