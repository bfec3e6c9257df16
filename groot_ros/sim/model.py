# SPDX-License-Identifier: Apache-2.0
"""The simulated robot's MuJoCo model: which joints it has, how far they move, where home is."""

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from groot_ros.core.share import share_directory
from groot_ros.robot import RobotContract

#: Key frame whose `ctrl` is the rest position.
HOME_KEY = "home"
_CUBE = "_cube"


@dataclass(frozen=True)
class RobotModel:
    """A model and its n actuated joints, which are the order of every [n] array of the simulator.

    A joint is what one actuator moves, and has its name. An actuator without a joint, such as the
    valve of a suction cup, counts as a joint that is where it is commanded to be, from 0 to 1.

    Attributes:
        mujoco: the compiled model; a new one each time, because models can be changed.
        joints: names.
        limits: lower and upper position [n, 2], rad or m; infinite for a joint without limits.
        home: rest position [n].
        cubes: colours; the body of a cube is called "<colour>_cube".
        rows: index in [n] of those actuators that have a joint, [m].
        qpos, qvel, act: where position, velocity and filtered set point of these are, [m]; act is
            -1 for an actuator without a filter (`timeconst`).
        mirrored: (qpos of a joint that follows, row of the joint that it follows).

    """

    mujoco: mujoco.MjModel
    joints: tuple[str, ...]
    limits: NDArray[np.float64]
    home: NDArray[np.float64]
    cubes: tuple[str, ...]
    rows: NDArray[np.intp]
    qpos: NDArray[np.intp]
    qvel: NDArray[np.intp]
    act: NDArray[np.intp]
    mirrored: tuple[tuple[int, int], ...]

    @classmethod
    def load(cls, path: Path) -> "RobotModel":
        """Read an MJCF file.

        Raises:
            ValueError: not a model of MuJoCo, or it lacks what the simulator needs; one line.

        """
        try:
            model = mujoco.MjModel.from_xml_path(str(path))
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: is not a model of MuJoCo: {reason}") from error
        keys = [model.key(i).name for i in range(model.nkey)]
        if not model.nu:
            raise ValueError(f"{path}: has no actuators: add a <position> for each joint")
        if HOME_KEY not in keys:
            raise ValueError(
                f'{path}: has no <key name="{HOME_KEY}" ctrl="..."/> with the rest position'
            )
        actuators = np.arange(model.nu)
        has_joint = model.actuator_trntype == mujoco.mjtTrn.mjTRN_JOINT
        rows = actuators[has_joint]
        moved = model.actuator_trnid[rows, 0]
        limits = model.actuator_ctrlrange.copy()
        endless = model.jnt_limited[moved, None] == 0
        limits[rows] = np.where(endless, (-np.inf, np.inf), model.jnt_range[moved])
        qpos = model.jnt_qposadr[moved]
        bodies = [model.body(i).name for i in range(model.nbody)]
        home = model.key(HOME_KEY).ctrl.copy()
        home.setflags(write=False)
        return cls(
            mujoco=model,
            joints=tuple(model.actuator(i).name for i in actuators),
            limits=limits,
            home=home,
            cubes=tuple(b.removesuffix(_CUBE) for b in bodies if b.endswith(_CUBE)),
            rows=rows,
            qpos=qpos,
            qvel=model.jnt_dofadr[moved],
            act=model.actuator_actadr[rows],
            mirrored=_mirrored(model, moved.tolist(), rows.tolist()),
        )


def _mirrored(
    model: mujoco.MjModel, moved: list[int], rows: list[int]
) -> tuple[tuple[int, int], ...]:
    pairs = []
    for i in range(model.neq):
        follower, leader = int(model.eq_obj1id[i]), int(model.eq_obj2id[i])
        if model.eq_type[i] == mujoco.mjtEq.mjEQ_JOINT and leader in moved:
            pairs.append((int(model.jnt_qposadr[follower]), rows[moved.index(leader)]))
    return tuple(pairs)


def shipped_model(name: str) -> Path:
    """Return the file of a model in config/robots/models; ValueError lists the names."""
    folder = share_directory() / "config" / "robots" / "models"
    path = folder / f"{name}.xml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in folder.glob("*.xml")))
        raise ValueError(
            f"there is no simulated robot '{name}' (there are: {names}): name an MJCF file with "
            "the key 'model' of the robot contract"
        )
    return path


def model_of(contract: RobotContract) -> Path:
    """Return the model file that the contract names, else the shipped one of the robot's name."""
    if contract.model and not contract.model.is_file():
        raise ValueError(f"model '{contract.model}' of robot '{contract.robot}' does not exist")
    return contract.model or shipped_model(contract.robot)
