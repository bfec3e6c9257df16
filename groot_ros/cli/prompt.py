# SPDX-License-Identifier: Apache-2.0
"""`groot-ros prompt`: give the policy a prompt of words and pictures."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ros.cli import add_command
from groot_ros.cli.operator import EXIT_STATUS, add_graph_options, print_replies

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from groot_ros.core.prompt import Pictures

_EXAMPLES = """examples:
  groot-ros prompt --text "put the {0} into the {1}" --image 0=cup.png --image 1=bowl.png
  groot-ros prompt --text "rearrange to this {scene}" \\
      --image scene:front=front.png --mask scene:front=front_ids.png \\
      --image scene:top=top.png --mask scene:top=top_ids.png

{0} in the text stands for the picture --image 0=FILE. Without a view, the image is the same in all
views; 0:top=FILE is the image of view top. A mask is a grey or indexed image of the same size; its
values are the ids of objects, the same in all views, and 0 is the background. Without a mask, one
object fills the image: crop it.
"""
#: Modes of Pillow whose pixels are numbers.
_MASK_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `groot-ros prompt`."""
    description = "Give the policy a prompt of words and pictures."
    parser = add_command(subparsers, "prompt", description, _EXAMPLES + EXIT_STATUS)
    add = parser.add_argument
    add("--text", required=True, help="words and placeholders, such as {0}")
    named = "NAME[:VIEW]=FILE"
    text = "picture of a placeholder, png or jpeg"
    add("--image", action="append", default=[], metavar=named, help=text)
    text = "ids of the objects in this image"
    add("--mask", action="append", default=[], metavar=named, help=text)
    add_graph_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send the prompt; return 0 accepted, 1 rejected, 3 no such node or no answer."""
    from groot_ros.core import is_blank
    from groot_ros.core.prompt import placeholder_problem

    if is_blank(args.text):
        raise ValueError("the text is empty, which stops: use groot-ros stop")
    pictures = read_pictures(args.image, args.mask)
    if problem := placeholder_problem(args.text, pictures):
        raise ValueError(problem)

    from groot_ros.bridge.graph_client import GraphClient
    from groot_ros.bridge.operator_commands import prompt_command, run_command

    command = prompt_command(pictures)
    with GraphClient(args.namespace) as client:
        outcome, replies = run_command(client, command, args.text, args.timeout)
    print_replies("prompt", replies)
    return int(outcome)


def read_pictures(images: Iterable[str], masks: Iterable[str]) -> "Pictures":
    """Read the files of the options --image and --mask.

    Raises:
        ValueError: an option is malformed, names a file that is no image, or a mask without image.

    """
    from groot_ros.core import MalformedError
    from groot_ros.core.prompt import PromptImage

    files = dict(_named_files("--image", images))
    labels = dict(_named_files("--mask", masks))
    if alone := sorted(labels.keys() - files.keys()):
        name, view = alone[0]
        shown = f"{name}:{view}" if view else name
        raise ValueError(f"--mask {shown} belongs to no image: give --image {shown}=FILE")
    pictures: dict[str, dict[str, PromptImage]] = {}
    for (name, view), file in files.items():
        mask = labels.get((name, view))
        try:
            image = PromptImage(_read_rgb(file), None if mask is None else _read_mask(mask))
        except MalformedError as error:
            raise ValueError(f"{file if mask is None else mask}: {error.detail}") from error
        pictures.setdefault(name, {})[view] = image
    return pictures


def _named_files(option: str, values: Iterable[str]) -> Iterator[tuple[tuple[str, str], Path]]:
    """Yield ((placeholder, view), file) of each value."""
    seen = set()
    for value in values:
        key, _, file = value.partition("=")
        name, colon, view = key.partition(":")
        if not name or not file or (colon and not view):
            raise ValueError(f"{option} must be NAME=FILE or NAME:VIEW=FILE, not '{value}'")
        if (name, view) in seen:
            raise ValueError(f"{option} {key} is given more than once")
        seen.add((name, view))
        yield (name, view), Path(file).expanduser()


def _read_rgb(file: Path) -> "NDArray[np.uint8]":
    import numpy as np
    from PIL import Image

    try:
        with Image.open(file) as image:
            return np.array(image.convert("RGB"), np.uint8)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except OSError as error:
        # Also a file that is cut off.
        raise ValueError(f"{file}: is no image that can be read; give a png or jpeg") from error


def _read_mask(file: Path) -> "NDArray[np.uint16]":
    import numpy as np
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode not in _MASK_MODES:
                raise ValueError(
                    f"{file}: is an image of colours ({image.mode}); a mask must be grey or "
                    "indexed, and its values are the ids of objects"
                )
            values = np.array(image)
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except OSError as error:
        # Also a file that is cut off.
        raise ValueError(f"{file}: is no image that can be read; give a png") from error
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{file}: has values up to {values.max()}, ids are 0 to 65535")
    return values.astype(np.uint16)
