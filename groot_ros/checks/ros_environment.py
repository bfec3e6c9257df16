# SPDX-License-Identifier: Apache-2.0
"""Checks of the ROS installation and of DDS: distribution, RMW, profile, domain."""

from collections.abc import Iterator

from groot_ros.checks.check import Check, NotApplicable, Problem, Severity
from groot_ros.checks.machine_facts import PROFILE, Machine, size_text
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
#: Largest ROS_DOMAIN_ID.
_LAST_DOMAIN = 232
#: Domains whose ports Linux may assign to outgoing connections.
_UNSAFE_DOMAINS = range(102, 215)
_RANGES = ("SUBNET", "LOCALHOST", "OFF", "SYSTEM_DEFAULT")


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
            f"has {size_text(machine.shared_memory)} free, less than {size_text(_SHARED_MEMORY)}: "
            "images go through the network stack and are lost",
        )


def _domain(machine: Machine) -> Iterator[Problem]:
    if not machine.domain.isdigit() or int(machine.domain) > _LAST_DOMAIN:
        yield Problem(
            "ROS_DOMAIN_ID", f"is '{machine.domain}', not a number from 0 to {_LAST_DOMAIN}"
        )


def _domain_choice(machine: Machine, graph: LiveGraph | None) -> Iterator[Problem]:
    own = machine.domain
    if own.isdigit() and int(own) in _UNSAFE_DOMAINS:
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


def _control_msgs(machine: Machine) -> Iterator[Problem]:
    if not machine.has_control_msgs:
        yield Problem(
            "control_msgs",
            "cannot be imported: inactive controllers and late messages are not detected",
        )


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
        _ERROR,
        "machine",
        "ROS_DOMAIN_ID with valid ones",
        "export ROS_DOMAIN_ID=N, the same in all shells",
        ("machine",),
        _domain,
    ),
    Check(
        "domain_choice",
        _WARNING,
        "machine",
        "ROS_DOMAIN_ID with the ports of other programs, and with that of running nodes",
        "export ROS_DOMAIN_ID=N, the same in all shells",
        ("machine", "graph?"),
        _domain_choice,
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
        "control_msgs",
        _WARNING,
        "machine",
        "the Python packages with those that reports of controllers need",
        "install control_msgs (apt: ros-DISTRO-control-msgs) for this Python",
        ("machine",),
        _control_msgs,
    ),
)
