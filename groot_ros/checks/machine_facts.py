# SPDX-License-Identifier: Apache-2.0
"""Facts of this machine: software, GPU, limits and space, read without ROS and without torch."""

import ctypes
import importlib.util
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

#: Packages whose versions are read.
PACKAGES = ("torch", "tensorrt", "onnxruntime", "onnxruntime-gpu", "numpy")
#: Environment variable that names the profile of Fast DDS.
PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"
#: Environment variables that are read.
VARIABLES = (
    "ROS_DISTRO",
    "ROS_DOMAIN_ID",
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_LOCALHOST_ONLY",
    "RMW_IMPLEMENTATION",
    PROFILE,
    "CYCLONEDDS_URI",
)
#: Names under which TensorRT is installed.
_TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")
_CAP_SYS_NICE = 23
_TOOL_TIMEOUT = 5.0


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        memory: bytes in total.
        throttled: reasons for which its clocks are reduced, as nvidia-smi names them.
        fixed: whether its clock is fixed at the maximum (jetson_clocks); None if not a Jetson.

    """

    name: str
    memory: int = 0
    throttled: tuple[str, ...] = ()
    fixed: bool | None = None


@dataclass(frozen=True)
class RosProcess:
    """A process of this user that was started with --ros-args.

    Attributes:
        name: of its program.
        variables: those of VARIABLES that it was started with.

    """

    pid: int
    name: str
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """Facts of one machine.

    Attributes:
        variables: those of VARIABLES that are set.
        rclpy_error: why rclpy cannot be imported, "" if it can.
        rmw: name of the RMW implementation in use; "" if it is not known.
        packages: those of PACKAGES that are installed -> version.
        torch_cuda: CUDA version that torch is built for; "" for a build without CUDA.
        driver_cuda: newest CUDA version that the driver supports; "" without a driver.
        gpus: NVIDIA GPUs.
        gpu_problem: why the driver sees no GPU, although it is installed.
        power_mode: of nvpmodel; "" if the machine has none.
        memory: bytes of RAM that are available.
        disk: bytes that are free where the command runs.
        shared_memory: bytes that are free in /dev/shm; None if it does not exist.
        realtime_priority: largest priority that a process may request.
        locked_memory: bytes that a process may lock.
        governors: governors of the CPUs; empty if the machine has none.
        has_control_msgs: whether control_msgs can be imported.
        processes: processes of ROS nodes.
        segments: Fast DDS profile that `variables` or a process names -> bytes of its
            shared-memory segment, 0 if it states none; without those that cannot be read.

    """

    variables: Mapping[str, str] = field(default_factory=dict)
    rclpy_error: str = ""
    rmw: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    torch_cuda: str = ""
    driver_cuda: str = ""
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str = ""
    power_mode: str = ""
    memory: int = 0
    disk: int = 0
    shared_memory: int | None = None
    realtime_priority: int = 0
    locked_memory: int = 0
    governors: tuple[str, ...] = ()
    has_control_msgs: bool = True
    processes: tuple[RosProcess, ...] = ()
    segments: Mapping[str, int] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """Return ROS_DOMAIN_ID, "0" if it is not set."""
        return self.variables.get("ROS_DOMAIN_ID") or "0"


def read_machine(root: Path = Path("/"), *, rmw: str = "", rclpy_error: str = "") -> Machine:
    """Gather the facts of this machine.

    Args:
        root: directory that contains proc and sys, for tests.
        rmw: RMW implementation, if it is known.
        rclpy_error: why rclpy cannot be imported, if it cannot.

    """
    driver, gpus, problem = _gpus(root)
    variables, processes = _variables(os.environ), tuple(_ros_processes(root))
    profiles = {own.get(PROFILE, "") for own in (variables, *(p.variables for p in processes))}
    return Machine(
        variables=variables,
        rclpy_error=rclpy_error,
        rmw=rmw or os.environ.get("RMW_IMPLEMENTATION", ""),
        packages=_packages(),
        torch_cuda=_torch_cuda(),
        driver_cuda=driver,
        gpus=gpus,
        gpu_problem=problem,
        power_mode=_power_mode(),
        memory=_available_memory(root),
        disk=shutil.disk_usage(Path.cwd()).free,
        shared_memory=_free(root / "dev/shm"),
        realtime_priority=_realtime_priority(root),
        locked_memory=_limit(resource.RLIMIT_MEMLOCK),
        governors=_governors(root),
        has_control_msgs=importlib.util.find_spec("control_msgs") is not None,
        processes=processes,
        segments={f: size for f in profiles - {""} if (size := segment_bytes(f)) is not None},
    )


def size_text(size: float) -> str:
    """Return a number of bytes as text, such as "1.5 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def segment_bytes(file: str) -> int | None:
    """Return the size of the shared-memory segment that a Fast DDS profile states, in bytes.

    Returns None if the file cannot be read, and 0 if it states none.
    """
    try:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    sizes = re.findall(r"<(?:\w+:)?segment_size>\s*(\d+)\s*<", text)
    return max(map(int, sizes), default=0)


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in VARIABLES if environment.get(name)}


def _packages() -> dict[str, str]:
    found = {}
    for name in {*PACKAGES, *_TENSORRT}:
        try:
            found["tensorrt" if name in _TENSORRT else name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _torch_cuda() -> str:
    """Read the CUDA version from torch/version.py, as importing torch takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return ""
    file = Path(spec.origin).with_name("version.py")
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    match = re.search(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match[1] if match else ""


def _gpus(root: Path) -> tuple[str, tuple[Gpu, ...], str]:
    """Return the driver's CUDA version, the GPUs, and why there are none despite a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "", (), ""
    version, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    supported = f"{version.value // 1000}.{version.value % 1000 // 10}"
    status = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        reason = f"CUDA error {status}" if status else "it sees no GPU"
        return supported, (), f"the CUDA driver does not work ({reason})"
    fixed, throttled = _fixed_clock(root), _throttled()
    gpus = []
    for index in range(count.value):
        device, memory = ctypes.c_int(), ctypes.c_size_t()
        name = ctypes.create_string_buffer(100)
        driver.cuDeviceGet(ctypes.byref(device), index)
        driver.cuDeviceGetName(name, len(name), device)
        driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
        reasons = throttled[index] if index < len(throttled) else ()
        gpus.append(Gpu(name.value.decode(), memory.value, reasons, fixed))
    return supported, tuple(gpus), ""


def _throttled() -> list[tuple[str, ...]]:
    """Return for each GPU the reasons that nvidia-smi gives for reduced clocks."""
    names = ("hw_slowdown", "hw_thermal_slowdown", "sw_thermal_slowdown", "hw_power_brake_slowdown")
    query = ",".join(f"clocks_throttle_reasons.{name}" for name in names)
    output = _run("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    return [
        tuple(n for n, v in zip(names, row.split(","), strict=False) if v.strip() == "Active")
        for row in output.splitlines()
    ]


def _fixed_clock(root: Path) -> bool | None:
    """Return whether a Jetson's GPU runs at its maximum, as after jetson_clocks; None elsewhere."""
    if not (root / "etc/nv_tegra_release").is_file():
        return None
    folders = [
        path
        for path in (root / "sys/class/devfreq").glob("*")
        if re.search(r"gpu|gv11b|ga10b|gb10b", path.name)
    ]
    pairs = [(_read(path / "min_freq"), _read(path / "max_freq")) for path in folders]
    return all(low == high for low, high in pairs) if pairs else None


def _power_mode() -> str:
    match = re.search(r"NV Power Mode:\s*(\S+)", _run("nvpmodel", "-q"))
    return match[1] if match else ""


def _run(*command: str) -> str:
    """Return the output of a tool, "" if it is missing or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TOOL_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _available_memory(root: Path) -> int:
    match = re.search(r"^MemAvailable:\s*(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    return 1024 * int(match[1]) if match else 0


def _free(folder: Path) -> int | None:
    return shutil.disk_usage(folder).free if folder.is_dir() else None


def _realtime_priority(root: Path) -> int:
    """Return the largest SCHED_FIFO priority that is permitted; 99 with CAP_SYS_NICE."""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", _read(root / "proc/self/status"), re.MULTILINE)
    if match and int(match[1], 16) >> _CAP_SYS_NICE & 1:
        return 99
    return min(99, _limit(resource.RLIMIT_RTPRIO))


def _limit(which: int) -> int:
    soft, _ = resource.getrlimit(which)
    return 2**63 - 1 if soft == resource.RLIM_INFINITY else soft


def _governors(root: Path) -> tuple[str, ...]:
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return tuple(sorted({_read(file).strip() for file in files} - {""}))


def _ros_processes(root: Path) -> Iterator[RosProcess]:
    """Yield the processes that were started with --ros-args and whose environment can be read."""
    for folder in sorted((root / "proc").glob("[0-9]*")):
        arguments = _read(folder / "cmdline").split("\0")
        if "--ros-args" not in arguments:
            continue
        pairs = (entry.partition("=") for entry in _read(folder / "environ").split("\0"))
        environment = {name: value for name, _, value in pairs}
        if environment.keys() - {""}:
            yield RosProcess(int(folder.name), _program(arguments), _variables(environment))


def _program(arguments: list[str]) -> str:
    """Return the name of a program: that of the script or module for Python."""
    own = arguments[: arguments.index("--ros-args")]
    named = [a for a in own if a and not a.startswith("-")]
    interpreter = re.match(r"python[\d.]*$", Path(named[0]).name) if named else None
    return Path(named[-1] if interpreter else named[0]).name if named else "?"


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
