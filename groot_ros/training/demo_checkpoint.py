# SPDX-License-Identifier: Apache-2.0
"""Make the demo checkpoint: render demonstrations, train, and check in closed loop."""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from groot_ros.core import Observation, PolicyConfig
from groot_ros.core.share import robot_path
from groot_ros.families.registry import get_family
from groot_ros.families.training import DataLayout, Demonstrations
from groot_ros.policy import Policy, load_policy
from groot_ros.robot import RobotContract, load_contract
from groot_ros.sim import JOINTS
from groot_ros.sim.closed_loop import ChunkPolicy, Leg, drive
from groot_ros.sim.tasks.touch import INSTRUCTIONS, REACHED
from groot_ros.training.demo_data import HORIZON, VIEWS, DemoData, describe_cells, generate

TAG = "new_embodiment"
#: Actions of this group are offsets from the state.
RELATIVE_GROUP = "single_arm"
#: Number of images that are described at a time.
_PART = 100
_CHECK = tuple(INSTRUCTIONS[i] for i in (0, 1, 2, 0, 2, 1))


def make_checkpoint(
    out: Path,
    *,
    states: int,
    backbone_steps: int,
    head_steps: int,
    seed: int,
    data_file: Path | None = None,
) -> None:
    """Train a model and write its checkpoint directory; an existing one is replaced.

    Args:
        out: directory to write.
        states: number of rendered states, with one sample per instruction each.
        backbone_steps: training steps of the backbone.
        head_steps: training steps of the action head.
        seed: seed of data, initial weights and training.
        data_file: npz file from which the demonstrations are read if it exists, else written to.

    """
    contract = load_contract(robot_path("so101"))
    family = get_family()
    if data_file is not None and data_file.exists():
        data = DemoData.load(data_file)
    else:
        transform = family.small_trainer(data_layout(contract), seed).transform
        with _bar("demonstrations", states) as bar:
            data = generate(states, seed, transform=transform, progress=bar.update)
        if data_file is not None:
            data.save(data_file)
    with tempfile.TemporaryDirectory() as scratch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        directory = Path(scratch) / "checkpoint"
        trainer = family.small_trainer(data_layout(contract, data), seed)
        demonstrations = encode_demonstrations(contract, data, trainer.cell)
        generator = torch.Generator().manual_seed(seed)
        for stage, steps, train in (
            ("backbone", backbone_steps, trainer.train_backbone),
            ("action head", head_steps, trainer.train_head),
        ):
            with _bar(stage, steps) as bar:
                train(demonstrations, steps, generator, _reporter(bar))
        trainer.save(directory)
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(directory, out)


def data_layout(contract: RobotContract, data: DemoData | None = None) -> DataLayout:
    """Return the layout of the demonstrations: arm actions relative to the state, gripper absolute.

    The units are those of a real SO-101 checkpoint: degrees, and 0 to 100 for the gripper.
    """
    widths = {name: len(joints) for name, joints in contract.state_groups.items()}
    return DataLayout(
        TAG,
        VIEWS,
        widths,
        widths,
        HORIZON,
        frozenset({RELATIVE_GROUP}),
        {} if data is None else statistics(contract, data),
        image_edge=112,
    )


def encode_demonstrations(contract: RobotContract, data: DemoData, cell: int) -> Demonstrations:
    """Return the demonstrations in the checkpoint's units; `cell` is an image token's side, px."""
    parts = [data.images[i : i + _PART] for i in range(0, len(data.images), _PART)]
    return Demonstrations(
        data.images,
        to_groups(contract, data.states),
        to_groups(contract, data.actions),
        data.instructions,
        data.goals,
        np.concatenate([describe_cells(part, cell) for part in parts]),
    )


def to_groups(
    contract: RobotContract, joints: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Convert [..., 6] rad in the order of JOINTS to the checkpoint's groups and units."""
    return {
        name: contract.state_to_model(name, joints[..., [JOINTS.index(j) for j in own]])
        for name, own in contract.state_groups.items()
    }


def statistics(contract: RobotContract, data: DemoData) -> dict[str, Any]:
    """Return the statistics of states, actions and relative actions in the checkpoint's units."""
    state = to_groups(contract, data.states)
    action = to_groups(contract, data.actions)
    relative = action[RELATIVE_GROUP] - state[RELATIVE_GROUP][:, None, None]
    return {
        "state": {name: _describe(values) for name, values in state.items()},
        "action": {
            name: _describe(values.reshape(-1, values.shape[-1])) for name, values in action.items()
        },
        "relative_action": {RELATIVE_GROUP: _describe(relative.reshape(-1, *relative.shape[-2:]))},
    }


def _describe(samples: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Reduce [N, ...] to statistic -> [...]."""
    return {
        "min": samples.min(0),
        "max": samples.max(0),
        "mean": samples.mean(0),
        "std": samples.std(0),
        "q01": np.quantile(samples, 0.01, axis=0),
        "q99": np.quantile(samples, 0.99, axis=0),
    }


def as_chunk_policy(policy: Policy, contract: RobotContract) -> ChunkPolicy:
    """Return a function that runs the policy on the simulated arm's images and joints (rad).

    Its noise seeds count up from 0.
    """
    calls = iter(range(1 << 31))

    def infer(
        images: Mapping[str, NDArray[np.uint8]], joints: NDArray[np.float64], instruction: str
    ) -> NDArray[np.float64]:
        state = contract.select_state(dict(zip(JOINTS, joints.tolist(), strict=True)))
        observation = Observation(
            stamp_ns=0,
            images={view: image[None] for view, image in images.items()},
            state={group: values[None] for group, values in state.items()},
            instruction=instruction,
        )
        chunk = policy.infer(observation, seed=next(calls))
        columns = {n: g.values[:, i] for g in chunk.groups for i, n in enumerate(g.names)}
        return np.stack([columns[joint] for joint in JOINTS], axis=1)

    return infer


def check(out: Path, seed: int = 0) -> list[Leg]:
    """Drive the simulated arm with the checkpoint and return one leg per instruction.

    The cubes are red, green, blue, red, blue, green, 5 s each.
    """
    contract = load_contract(robot_path("so101"))
    policy = load_policy(
        PolicyConfig(checkpoint=str(out), embodiment=TAG, device="cpu", engine="torch"),
        robot=contract,
    )
    try:
        return drive(as_chunk_policy(policy, contract), _CHECK, seed=seed, dt=policy.dt)
    finally:
        policy.close()


def report(legs: list[Leg]) -> bool:
    """Print a table of the legs; return whether the check passed.

    It passes if every cube is reached and at least three joints travel 0.5 rad in one leg.
    """
    print("\ninstruction             distance  joints that travelled 0.5 rad or more")
    for leg in legs:
        far = [joint for joint, t in zip(JOINTS, leg.travel, strict=True) if t >= 0.5]
        print(f"{leg.instruction:22}  {leg.distance * 100:5.1f} cm  {', '.join(far) or 'none'}")
    reached = all(leg.distance <= REACHED for leg in legs)
    moved = max((leg.travel >= 0.5).sum() for leg in legs) >= 3
    print("PASSED" if reached and moved else "FAILED: see the distances and travels above")
    return bool(reached and moved)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0 if the check in closed loop passes, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m groot_ros.training.demo_checkpoint",
        description="Render demonstrations of the scripted expert, train a small model on "
        "them, write the checkpoint, and drive the simulated arm with it. About 13 minutes of one "
        "CPU core.",
        epilog="example:\n  python -m groot_ros.training.demo_checkpoint "
        "--out checkpoints/so101_demo",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="checkpoint directory to write")
    parser.add_argument("--states", type=int, default=3000, help="rendered states (%(default)s)")
    parser.add_argument(
        "--backbone-steps", type=int, default=3000, help="steps of stage one (%(default)s)"
    )
    parser.add_argument(
        "--head-steps", type=int, default=3000, help="steps of stage two (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch's CPU threads (%(default)s)")
    parser.add_argument("--data", type=Path, help="npz that keeps the demonstrations between runs")
    parser.add_argument("--check-only", action="store_true", help="only run the check")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    begin = time.monotonic()
    if not args.check_only:
        make_checkpoint(
            args.out,
            states=args.states,
            backbone_steps=args.backbone_steps,
            head_steps=args.head_steps,
            seed=args.seed,
            data_file=args.data,
        )
        size = sum(file.stat().st_size for file in args.out.iterdir()) / 1e6
        print(f"\n{args.out}: {size:.1f} MB after {(time.monotonic() - begin) / 60:.1f} minutes")
    return 0 if report(check(args.out)) else 1


@contextmanager
def _bar(name: str, total: int):  # type: ignore[no-untyped-def]  # noqa: ANN202 - tqdm has no stubs
    # disable=None: no bar where the output is not a terminal.
    with tqdm(total=total, desc=f"{name:14}", ncols=90, file=sys.stdout, disable=None) as bar:
        if bar.disable:
            print(f"{name}: {total} steps", flush=True)
        yield bar


def _reporter(bar: tqdm) -> Callable[[float], None]:
    """Return a function that shows the loss, averaged over about 50 steps, on the bar."""
    mean = 0.0
    count = 0

    def show(loss: float) -> None:
        nonlocal mean, count
        count += 1
        mean += (loss - mean) / min(count, 50)
        bar.set_postfix_str(f"loss {mean:.4f}", refresh=False)
        bar.update(1)

    return show


if __name__ == "__main__":
    sys.exit(main())
