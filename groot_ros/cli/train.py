# SPDX-License-Identifier: Apache-2.0
"""`groot-ros train`: fine-tune a GR00T checkpoint, or train a small GR00T or VIMA."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from groot_ros.cli import add_command
from groot_ros.core.config import Parameter, parameters_of

_EXAMPLES = """examples:
  groot-ros train --data ~/sets/pick --checkpoint ~/GR00T-N1.6-3B --out ~/runs/pick \\
      --relative single_arm --lora-rank 32
  groot-ros train --recipe config/training/small.yaml --data ~/sets/reach --out ~/runs/reach
  groot-ros train --recipe config/training/small.yaml --data ~/sets/reach --out ~/runs/reach \\
      --resume --leg-minutes 40
  groot-ros train --recipe config/training/vima_small.yaml --data ~/sets/put_into ~/sets/rotate \\
      --out ~/runs/vima
  accelerate launch --multi_gpu --num_processes 4 -m groot_ros.cli train --data ~/sets/pick \\
      --checkpoint ~/GR00T-N1.6-3B --out ~/runs/pick
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros train`."""
    from groot_ros.training.settings import TrainSettings

    parser = add_command(
        subparsers,
        "train",
        "Fine-tune a GR00T checkpoint, or train a small GR00T or VIMA.",
        _EXAMPLES,
    )
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="YAML file of these options; options win"
    )
    for declared in parameters_of(TrainSettings):
        option = f"--{declared.field_name.replace('_', '-')}"
        parser.add_argument(option, **_keywords(declared))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; return 0 if the run or its leg is done, 1 if the training has diverged."""
    from groot_ros.training.settings import make_settings, parameters, read_recipe

    given = {name: getattr(args, name) for name in parameters() if hasattr(args, name)}
    settings = make_settings({} if args.recipe is None else read_recipe(args.recipe), given)
    try:
        from groot_ros.training.run import train

        result = train(settings)
    except ImportError as error:
        if not error.name:  # a family names the extra that installs its package
            raise ValueError(str(error)) from error
        raise ValueError(
            f"training needs the package '{error.name}': pip install 'groot_ros[train]'"
        ) from error
    except FloatingPointError as error:
        print(f"groot-ros train: {error}", file=sys.stderr)
        return 1
    if result.first_process:
        print(_summary(settings.out, result.step, settings.steps, result.finished))
    return 0


def _summary(out: str, step: int, steps: int, finished: bool) -> str:
    if finished:
        best = (Path(out).expanduser() / "best").is_dir()
        kinds = "checkpoints best and last" if best else "checkpoint last"
        checkpoint = f"{out}/{'best' if best else 'last'}"
        return (
            f"{out}: {steps} steps done; {kinds}\n"
            f"next: groot-ros inspect --checkpoint {shlex.quote(checkpoint)} --robot ROBOT"
        )
    return f"{out}: {step} of {steps} steps done; continue with --resume"


def _keywords(declared: Parameter) -> dict[str, Any]:
    """Return the keywords of `add_argument`; an option that is not given sets nothing."""
    text = declared.description + (f" [{declared.unit}]" if declared.unit else "")
    keywords: dict[str, Any] = {"dest": declared.field_name, "default": argparse.SUPPRESS}
    if isinstance(declared.default, bool):
        keywords["action"] = argparse.BooleanOptionalAction
    elif isinstance(declared.default, tuple):
        keywords |= {"nargs": "+", "type": str, "action": _AsTuple}
    else:
        keywords["type"] = type(declared.default)
        text += f" (default: {declared.default})" if declared.default != "" else ""
    if declared.choices:
        keywords["choices"] = declared.choices
    elif "action" not in keywords or isinstance(declared.default, tuple):
        keywords["metavar"] = declared.field_name.upper()
    return {**keywords, "help": text.replace("%", "%%")}


class _AsTuple(argparse.Action):
    """Option of several values, stored as a tuple."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, tuple(values))
