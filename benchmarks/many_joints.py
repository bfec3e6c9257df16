# SPDX-License-Identifier: Apache-2.0
"""Synthetic robot of the benchmarks: two arms with six-fingered hands, 26 joints, no pictures."""

from pathlib import Path

_SIDES, _ARM, _HAND = ("left", "right"), 7, 6


def write_robot(folder: Path) -> Path:
    """Write the contract and the model of the robot into a folder; return the contract's path."""
    groups = {
        f"{side}_{part}": [f"{side}_{part}_{i}" for i in range(count)]
        for side in _SIDES
        for part, count in (("arm", _ARM), ("hand", _HAND))
    }
    joints = [joint for members in groups.values() for joint in members]
    contract = folder / "many_joints.yaml"
    contract.write_text("\n".join(_contract(groups, joints)), encoding="utf-8")
    (folder / "many_joints.xml").write_text("\n".join(_model(joints)), encoding="utf-8")
    return contract


def _contract(groups: dict[str, list[str]], joints: list[str]) -> list[str]:
    limits = "position: [-2.0, 2.0], velocity: 3.0, acceleration: 15.0"
    return [
        "version: 2",
        "robot: many_joints",
        "model: many_joints.xml",
        "action_dt: 0.0333333333",
        "joints:",
        *(f"  {joint}: {{limits: {{{limits}}}}}" for joint in joints),
        "inputs:",
        "  sources: {robot: {topic: joint_states, rate: 100.0}}",
        "  state:",
        *(
            f"    {group}: [{', '.join(f'{{joint: {joint}}}' for joint in members)}]"
            for group, members in groups.items()
        ),
        "outputs:",
        *(
            f"  {group}: [{{controller: {group}_controller, joints: [{', '.join(members)}]}}]"
            for group, members in groups.items()
        ),
        "cameras:",
        "  front: {topic: front/image_raw, rate: 5.0}",
        "controllers:",
        *(
            f"  - {{name: {group}_controller, joints: [{', '.join(members)}]}}"
            for group, members in groups.items()
        ),
        "",
    ]


def _model(joints: list[str]) -> list[str]:
    """Return an MJCF in which every joint turns a separate small body."""
    return [
        '<mujoco model="many_joints"><compiler angle="radian" autolimits="true"/>',
        '<option timestep="0.002" integrator="implicitfast"/>',
        '<default><position kp="20" dampratio="1" timeconst="0.02" inheritrange="1"/></default>',
        '<worldbody><camera name="front" pos="0 -3 1" xyaxes="1 0 0 0 0.3 1"/>',
        *(
            f'<body pos="{0.1 * i} 0 0"><joint name="{joint}" axis="0 0 1" range="-2 2" '
            'armature="0.01"/><geom size="0.04" contype="0" conaffinity="0"/></body>'
            for i, joint in enumerate(joints)
        ),
        "</worldbody><actuator>",
        *(f'<position name="{joint}" joint="{joint}"/>' for joint in joints),
        f'</actuator><keyframe><key name="home" ctrl="{" ".join("0" for _ in joints)}"/>',
        "</keyframe></mujoco>",
        "",
    ]
