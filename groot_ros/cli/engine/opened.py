"""What the options of `groot-ros engine` name, opened."""

import argparse
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from groot_ros.cli.engine.options import CANDIDATES

if TYPE_CHECKING:
    from groot_ros.policy import Policy
    from groot_ros.runtime.manifest import Manifest


def require_installed(*packages: str) -> None:
    """Raise ValueError naming the first package that is missing."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} is not installed: pip install 'groot_ros[onnx]'")


def open_manifest(args: argparse.Namespace) -> "Manifest":
    """Of the engine directory asked for; raises EngineFilesError."""
    from groot_ros.runtime.manifest import Manifest

    return Manifest.read(args.engine_directory)


def device_of(args: argparse.Namespace) -> Any:
    """The torch device asked for; raises ValueError where there is none."""
    from groot_ros.runtime.placement import choose_device

    return choose_device(args.device)


def open_robot(args: argparse.Namespace) -> Any:
    """The contract asked for, None without one."""
    from groot_ros.core.share import robot_path
    from groot_ros.robot import load_contract

    return None if args.robot is None else load_contract(robot_path(args.robot))


def open_parts(args: argparse.Namespace, manifest: "Manifest") -> Any:
    """The checkpoint that the engine files were made from, without its weights."""
    from groot_ros.runtime.checkpoint_parts import open_checkpoint

    return open_checkpoint(
        args.checkpoint or manifest.checkpoint,
        manifest.embodiment,
        backbone_assets=manifest.backbone_assets or None,
    )


def open_policy(
    args: argparse.Namespace,
    manifest: "Manifest",
    engine: str,
    *,
    proven: bool = True,
    dtype: str = "auto",
    show: Callable[[str, float], None] | None = None,
) -> "Policy":
    """With an engine that may be unproven: this verb is what proves it."""
    from groot_ros.policy import load_policy

    return load_policy(
        args.checkpoint or manifest.checkpoint,
        manifest.embodiment,
        robot=open_robot(args),
        device=args.device,
        engine=engine,
        engine_directory=args.engine_directory if proven else None,
        allow_unvalidated_engine=True,
        dtype=dtype,
        backbone_assets=manifest.backbone_assets or None,
        num_inference_steps=manifest.steps[0],
        progress=None if show is None else lambda s, f: show(f"{engine}: loading {s}", f),
    )


def open_reference(
    args: argparse.Namespace,
    manifest: "Manifest",
    engine: str,
    show: Callable[[str, float], None],
) -> "Policy":
    """What an engine is compared with: the exact fast form in float32.

    That one itself is compared with the plain form, as a comparison with itself would say nothing.
    """
    from groot_ros.runtime.placement import choose_dtype

    itself = engine == "torch" and choose_dtype("auto", device_of(args)) == choose_dtype(
        "float32", device_of(args)
    )
    name = "plain" if itself else "torch"
    return open_policy(args, manifest, name, proven=False, dtype="float32", show=show)


@contextmanager
def failures_of(what: str) -> Iterator[None]:
    """What torch and its like say while this runs, such as that memory is short, in one line."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(f"{what}: {' '.join(str(error).split())}") from error


def engines_of(args: argparse.Namespace, manifest: "Manifest") -> list[str]:
    """Those asked for, or all that can run here; says why the others cannot."""
    from groot_ros.runtime.engines import EngineFiles, obstacle

    if args.engine:
        return list(args.engine)
    files = EngineFiles(args.engine_directory, manifest)
    reasons = {name: obstacle(name, device_of(args), files) for name in CANDIDATES}
    for name, reason in reasons.items():
        if reason:
            print(f"engine {name} left out: {reason}")
    return [name for name, reason in reasons.items() if not reason]
