# SPDX-License-Identifier: Apache-2.0
"""Launch arguments: declaration, defaults, validation, and the names of earlier versions.

`launch/*.launch.py`, `groot-ros up` and `groot-ros demo` all derive their options from ARGUMENTS.
This module runs under the system Python: numpy, yaml, PIL and the standard library only.
"""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from groot_ros.core import PolicyConfig
from groot_ros.core.config import parameters_of
from groot_ros.core.share import DEMO_ROBOT, PROMPT_ROBOT

_LOGGER = logging.getLogger("groot_ros.bringup")


#: Choices of a launch argument that is true or false.
_FLAG = ("true", "false")


@dataclass(frozen=True)
class Argument:
    """One launch argument; `groot-ros up` has an option of the same name."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """Return the choices, other spellings of them, and values of version 0.1 for them.

        Launch files of other packages pass on True and False, as Python writes them.
        """
        renamed = RENAMED_VALUES.get(self.name, {})
        spelled = ("True", "False") if self.choices == _FLAG else ()
        old = (old for old, new in renamed.items() if new in self.choices)
        return (*self.choices, *spelled, *old)


#: Fields of the policy's configuration that are launch arguments.
_POLICY_FIELDS = (
    "checkpoint",
    "backbone_assets",
    "base_checkpoint",
    "embodiment",
    "robot",
    "engine",
    "engine_directory",
    "allow_unvalidated_engine",
    "device",
)
_POLICY = {p.field_name: p for p in parameters_of(PolicyConfig)}


def _policy_argument(name: str, default: str | None = None) -> Argument:
    """Return the launch argument of a parameter of the policy node."""
    declared = _POLICY[name]
    if isinstance(declared.default, bool):
        return Argument(name, "false", declared.description, _FLAG)
    value = str(declared.default) if default is None else default
    return Argument(name, value, declared.description, declared.choices)


#: Name in version 0.1 -> present name. Accepted with a warning in 0.2, removed in 0.3.
RENAMED = {_POLICY[n].former_name: n for n in _POLICY_FIELDS if _POLICY[n].former_name}
#: Argument -> (value in version 0.1 -> present value), accepted for the same time.
RENAMED_VALUES = {n: _POLICY[n].former_choices for n in _POLICY_FIELDS if _POLICY[n].former_choices}

#: Values that differ between deployments; tuning parameters belong in params_file.
ARGUMENTS = (
    *(_policy_argument(name, {"robot": "so101"}.get(name)) for name in _POLICY_FIELDS),
    Argument("params_file", "", "YAML file of ROS parameters; templates: config/*.yaml"),
    Argument("namespace", "", "Namespace of all nodes and topics; one per robot"),
    Argument("use_sim_time", "false", "Use the time published on /clock", _FLAG),
    Argument("autostart", "true", "Configure and activate the nodes at start", _FLAG),
    Argument("log_level", "info", "Log level", ("debug", "info", "warn", "error")),
    Argument("policy_nice", "10", "Nice level of the policy; the executor has priority"),
    Argument("executor_nice", "0", "Nice level of the executor; below 0 requires privileges"),
    Argument("policy_cpus", "", "CPU list of the policy, in the format of taskset -c; empty = all"),
    Argument("executor_cpus", "", "CPU list of the executor; empty = all"),
    Argument(
        "torch_threads", "auto", "CPU threads of torch; auto = all cores, one for a small model"
    ),
)

#: Arguments of launch/demo.launch.py and `groot-ros demo`.
DEMO_ARGUMENTS = (
    Argument(
        "task",
        "",
        "Tasks that the simulated robot judges, separated by commas: reach, push, pick_place; or "
        f"vima: prompts with pictures, for {PROMPT_ROBOT}",
    ),
    *(
        replace(
            a,
            default="",
            description="Robot contract: a shipped name or the path of a YAML file; empty = "
            f"{DEMO_ROBOT}, or {PROMPT_ROBOT} for prompts with pictures",
        )
        if a.name == "robot"
        else a
        for a in ARGUMENTS
    ),
)

#: Arguments of launch/record.launch.py.
RECORD_ARGUMENTS = (
    Argument("robot", "so101", "Robot contract: a shipped name or the path of a YAML file"),
    Argument(
        "output", "", "Directory of the bag, which must not exist; with episodes, of their bags"
    ),
    Argument("namespace", "", "Namespace of the graph"),
    Argument("use_sim_time", "false", "Use and record /clock", _FLAG),
    Argument("instruction", "", "What the robot is to do, for the description of the bag"),
    Argument("compression", "none", "Compression of the bag", ("none", "zstd")),
    Argument("episodes", "false", "Record an episode at a time: groot-ros episode start", _FLAG),
    Argument(
        "recorder",
        "auto",
        "What records; auto = rosbag2 where its MCAP storage is installed, except for episodes",
        ("auto", "rosbag2", "recorder_node"),
    ),
)

#: Arguments of launch/replay.launch.py that policy.launch.py does not have.
_REPLAY_ONLY = (
    Argument("bag", "", "Directory of the bag"),
    Argument("instruction", "", "Instruction of the policy; empty = the one in the bag"),
    Argument("rate", "1.0", "Speed of playing, 0.01 to 100"),
    Argument("start_offset", "0.0", "Begin this many seconds after the start of the bag"),
    Argument("loop", "false", "Begin again at the end of the bag", _FLAG),
    Argument(
        "player",
        "player_node",
        "What plays: player_node waits for the policy and works without rosbag2",
        ("player_node", "rosbag2"),
    ),
    Argument("output", "", "Directory of a bag of the replay, for groot-ros report; empty = none"),
    Argument(
        "domain",
        "isolated",
        "ROS domain: isolated = an unused one, which no robot is in; current = ROS_DOMAIN_ID",
        ("isolated", "current"),
    ),
)
#: The robot is that of the bag, and the time that of the player.
REPLAY_ARGUMENTS = (
    *_REPLAY_ONLY,
    *(
        replace(a, default="", description=f"{a.description}; empty = the one in the bag")
        if a.name == "robot"
        else a
        for a in ARGUMENTS
        if a.name not in ("use_sim_time", "autostart")
    ),
)


def default_values(arguments: Iterable[Argument] = ARGUMENTS) -> dict[str, str]:
    """Return argument name -> default."""
    return {a.name: a.default for a in arguments}


def resolve(values: Mapping[str, str], arguments: Iterable[Argument] = ARGUMENTS) -> dict[str, str]:
    """Return the value of every argument: the given one or the default.

    Args:
        values: argument name -> value. Names and values of version 0.1 (RENAMED, RENAMED_VALUES)
            are accepted with a warning.
        arguments: the known arguments.

    Raises:
        ValueError: unknown name, an old and a new name that contradict each other, or a value
            that is not one of the choices; one line that names the argument.

    """
    known = {a.name: a for a in arguments}
    values = _with_present_names(values, known)
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"'{unknown[0]}' is not a launch argument (known: {', '.join(known)})")
    merged = {**default_values(known.values()), **values}
    for name, argument in known.items():
        if argument.choices and merged[name] not in argument.choices:
            if merged[name] in argument.accepted:
                lower = merged[name].lower()
                merged[name] = lower if lower in _FLAG else _present_value(name, merged[name])
                continue
            choices = ", ".join(argument.choices)
            raise ValueError(f"{name} must be one of {choices}, not '{merged[name]}'")
    return merged


def _with_present_names(values: Mapping[str, str], known: Mapping[str, Argument]) -> dict[str, str]:
    """Replace the names of RENAMED.

    A new name that has its default value counts as not given: launch sets every declared argument.
    """
    present = dict(values)
    for old, new in RENAMED.items():
        if new not in known or old not in present:
            continue
        value = present.pop(old)
        if present.get(new, known[new].default) not in (known[new].default, value):
            raise ValueError(f"{old} is the old name of {new}: give only {new}")
        _LOGGER.warning(
            "launch argument %s is now called %s; the old name will be removed in 0.3", old, new
        )
        present[new] = value
    return present


def _present_value(name: str, old: str) -> str:
    new = RENAMED_VALUES[name][old]
    _LOGGER.warning(
        "%s '%s' is now called '%s'; the old name will be removed in 0.3", name, old, new
    )
    return new


def require_namespace(value: str) -> str:
    """Return the namespace unchanged; raise ValueError if it is not a valid ROS name."""
    if value and not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", value, re.ASCII):
        raise ValueError(
            f"namespace '{value}' is not a ROS name: use letters, digits and _ between slashes"
        )
    return value


def absolute_namespace(namespace: str) -> str:
    """Return the namespace with one leading and no trailing slash; "/" for an empty one."""
    return f"/{namespace.strip('/')}"


def optional_file(name: str, value: str) -> tuple[Path, ...]:
    """Return the absolute path of a file, or nothing for an empty value.

    Raises:
        ValueError: the file does not exist.

    """
    if not value:
        return ()
    if not Path(value).is_file():
        problem = "is a directory: give a file" if Path(value).is_dir() else "does not exist"
        raise ValueError(f"{name} '{value}' {problem}")
    return (Path(value).resolve(),)


def whole_number(name: str, value: str, low: int, high: int) -> int:
    """Parse a whole number in [low, high]; raise ValueError otherwise."""
    try:
        number = int(value)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, not '{value}'") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {number}")
    return number


def real_number(name: str, value: str, low: float, high: float) -> float:
    """Parse a number in [low, high]; raise ValueError otherwise."""
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{name} must be a number, not '{value}'") from None
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, not {number:g}")
    return number


def cpu_list(name: str, value: str) -> str:
    """Check a CPU list in the format of taskset -c ("0,2-5", "0-7:2") and return it unchanged.

    Raises:
        ValueError: wrong format, or a CPU on which this process may not run.

    """
    allowed = os.sched_getaffinity(0)
    selected: set[int] = set()
    for part in value.split(",") if value else ():
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::([1-9]\d*))?)?", part.strip(), re.ASCII)
        if match is None:
            raise ValueError(f"{name} '{value}' is not a list of CPUs such as 0,2-5")
        first, last, step = (int(group) if group else None for group in match.groups())
        assert first is not None
        selected |= set(range(first, (first if last is None else min(last, 2**16)) + 1, step or 1))
    unavailable = sorted(selected - allowed)
    if unavailable or (value and not selected):
        problem = f"CPU {unavailable[0]} is not available" if unavailable else "selects no CPU"
        raise ValueError(f"{name} '{value}': {problem} (available: {_ranges(allowed)})")
    return value


def _ranges(cpus: Iterable[int]) -> str:
    ordered = sorted(cpus)
    starts = [c for c in ordered if c - 1 not in ordered]
    ends = [c for c in ordered if c + 1 not in ordered]
    pairs = zip(starts, ends, strict=True)
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in pairs)
