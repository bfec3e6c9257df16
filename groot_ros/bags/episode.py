# SPDX-License-Identifier: Apache-2.0
"""Description of a recording in its bag: robot, instruction, checkpoint, outcome, versions.

It is one JSON text. The MCAP file has it as a metadata record with the name EPISODE_KEY. That is
also written before the first message, for the case that the recorder is killed. `metadata.yaml` has
it as the entry EPISODE_KEY of `custom_data`, which `ros2 bag record --custom-data` writes as well.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml

from groot_ros import __version__
from groot_ros.bags import BagError
from groot_ros.robot import RobotContract, load_contract
from groot_ros.robot.contract import parse_contract

#: Key in `custom_data`, and name of the metadata record.
EPISODE_KEY = "groot_ros.episode"
#: Key of the text in the metadata record.
_JSON = "json"


class Outcome(str, Enum):
    """Result of an episode, as the operator judged it."""

    UNKNOWN = "unknown"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True)
class EpisodeInfo:
    """Description of one recording; an empty text means that it is not known.

    Attributes:
        name: name of the bag's directory when it was recorded.
        number: number of the episode in its folder, from 1; 0 for a bag that is not an episode.
        started: wall time of the start, ISO 8601 with the UTC offset.
        robot: name of the robot.
        contract: text of the robot contract, YAML.
        contract_file: file that the text was read from; relative paths in it start there.
        fingerprint: `RobotContract.fingerprint` with the namespace.
        namespace: namespace of the robot's topics.
        instruction: what the operator stated at the start; otherwise the first instruction that a
            policy followed. Later ones are on the topic `active_instruction`.
        checkpoint_hash: of the last chunk that was recorded; empty without a policy.
        embodiment: of that chunk.
        engine: of that chunk.
        outcome: how it ended.
        use_sim_time: whether the bag's stamps are of /clock.
        versions: name -> version of the programs that recorded it.

    """

    name: str = ""
    number: int = 0
    started: str = ""
    robot: str = ""
    contract: str = ""
    contract_file: str = ""
    fingerprint: str = ""
    namespace: str = ""
    instruction: str = ""
    checkpoint_hash: str = ""
    embodiment: str = ""
    engine: str = ""
    outcome: Outcome = Outcome.UNKNOWN
    use_sim_time: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)

    def started_now(self, name: str, number: int = 0) -> "EpisodeInfo":
        """Return the description of a recording that starts now."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return replace(self, name=name, number=number, started=now)

    def robot_contract(self) -> RobotContract:
        """Return the contract that the robot was recorded with.

        Raises:
            BagError: the bag has none.
            ContractError: it cannot be read, for example because a URDF that it names is missing.

        """
        if not self.contract:
            raise BagError("the bag does not contain a robot contract: give one with --robot")
        folder = Path(self.contract_file).parent if self.contract_file else None
        where = f"contract in the bag{f' {self.name}' if self.name else ''}"
        return parse_contract(yaml.safe_load(self.contract), where, folder)

    def to_json(self) -> str:
        """Return the text of the metadata record."""
        return json.dumps({**asdict(self), "outcome": self.outcome.value}, sort_keys=True)

    def to_custom_data(self) -> str:
        """Return the text of the entry in metadata.yaml: percent-encoded, on one line.

        `ros2 bag record --custom-data` cuts a value at "=", and ruamel.yaml, with which `rosbags`
        writes the file, breaks long texts with escapes in places where they cannot be read back.
        """
        return quote(self.to_json(), safe="{}[]():,/")

    @classmethod
    def from_json(cls, text: str) -> "EpisodeInfo":
        """Parse a text of `to_json` or `to_custom_data`; keys of later versions are ignored.

        Raises:
            BagError: the text is not of this form.

        """
        try:
            values = json.loads(text if text.startswith('{"') else unquote(text))
            if not isinstance(values, dict):
                raise TypeError("it is not an object")
            known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
            empty = cls()
            for name, value in known.items():
                expected = Mapping if name == "versions" else type(getattr(empty, name))
                if expected is Outcome:
                    known[name] = Outcome(value)
                elif not isinstance(value, expected):
                    raise TypeError(f"{name} is {value!r}")
            return cls(**known)
        except (TypeError, ValueError, AttributeError) as error:
            raise BagError(f"the entry {EPISODE_KEY} of the bag is damaged: {error}") from error


def describe_recording(
    contract_file: Path | None, namespace: str = "", *, use_sim_time: bool = False
) -> EpisodeInfo:
    """Return what is known before recording: the robot and the versions.

    Args:
        contract_file: the robot contract; None if the topics were chosen without one.
        namespace: namespace of the robot's topics.
        use_sim_time: whether stamps are of /clock.

    Raises:
        ContractError: the contract cannot be read.

    """
    info = EpisodeInfo(
        namespace=namespace.strip("/"), use_sim_time=use_sim_time, versions=_versions()
    )
    if contract_file is None:
        return info
    contract = load_contract(contract_file)
    return replace(
        info,
        robot=contract.robot,
        contract=contract_file.read_text(encoding="utf-8"),
        contract_file=str(contract_file.absolute()),
        fingerprint=contract.fingerprint(namespace),
    )


def read_episode(bag: Path) -> EpisodeInfo:
    """Read the description of a bag, finished or not; one without it gives an empty one.

    Bags of version 0.2.0 and earlier, and of other recorders, have none.

    Args:
        bag: directory of a bag, or an .mcap file.

    Raises:
        BagError: there is no bag, or the description is damaged.

    """
    if not bag.exists():
        raise BagError(f"there is no bag at {bag}")
    text = None
    if (bag / "metadata.yaml").is_file():
        text = _in_metadata_yaml(bag / "metadata.yaml")
    else:
        files = [bag] if bag.is_file() else sorted(bag.glob("*.mcap"))
        for file in files:
            if file.suffix == ".mcap" and text is None:
                text = _in_mcap(file)
    return EpisodeInfo() if text is None else EpisodeInfo.from_json(text)


def metadata_record(info: EpisodeInfo) -> dict[str, str]:
    """Return the entries of the metadata record EPISODE_KEY."""
    return {_JSON: info.to_json()}


def _in_metadata_yaml(file: Path) -> str | None:
    try:
        read: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        custom = read["rosbag2_bagfile_information"].get("custom_data") or {}
        text = custom.get(EPISODE_KEY)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise BagError(f"{file} cannot be read: {problem}") from error
    return None if text is None else str(text)


def _in_mcap(file: Path) -> str | None:
    """Return the text of the last record, or of the one at the start of an unfinished file."""
    # Imported here: launch files run without these packages, and read bags with a metadata.yaml.
    from mcap.exceptions import McapError
    from mcap.reader import make_reader
    from mcap.records import Chunk, Metadata
    from mcap.stream_reader import StreamReader

    with file.open("rb") as opened:
        try:
            records = [m for m in make_reader(opened).iter_metadata() if m.name == EPISODE_KEY]
            return records[-1].metadata.get(_JSON) if records else None
        # The file has no index, because its recording was killed.
        except (McapError, OSError, ValueError):
            opened.seek(0)
        try:
            for record in StreamReader(opened, emit_chunks=True).records:
                if isinstance(record, Metadata) and record.name == EPISODE_KEY:
                    return record.metadata.get(_JSON)
                if isinstance(record, Chunk):
                    break
        except (McapError, ValueError):
            pass
    return None


def _versions() -> dict[str, str]:
    found = {"groot_ros": __version__, "python": platform.python_version()}
    for package in ("mcap", "rosbags"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if distro := os.environ.get("ROS_DISTRO"):
        found["ros_distro"] = distro
    return found
