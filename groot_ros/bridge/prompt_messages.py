# SPDX-License-Identifier: Apache-2.0
"""Conversion between prompts of words and pictures and their message."""

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from groot_ros.core import MalformedError, instruction_problem
from groot_ros.core.invariants import require
from groot_ros.core.prompt import (
    ALL_VIEWS,
    MAX_PROMPT_IMAGES,
    Pictures,
    PromptImage,
    placeholder_problem,
)
from groot_ros.msg import MultimodalPrompt
from groot_ros.msg import PromptImage as PromptImageMsg
from groot_ros.vision.encodings import image_to_rgb
from groot_ros.vision.labels import labels_of_image


def pictures_from_msg(msg: MultimodalPrompt) -> Pictures:
    """Return the pictures of a prompt.

    Raises:
        MalformedError: bad_prompt: the text is no instruction, text and pictures do not belong
            together, or an image is malformed; names it.

    """
    require(
        len(msg.images) <= MAX_PROMPT_IMAGES,
        "bad_prompt",
        f"the prompt has {len(msg.images)} images, at most {MAX_PROMPT_IMAGES} are accepted",
    )
    if problem := instruction_problem(msg.text):
        raise MalformedError("bad_prompt", problem)
    pictures: dict[str, dict[str, PromptImage]] = {}
    for sent in msg.images:
        views = pictures.setdefault(sent.placeholder, {})
        where = f"image '{sent.placeholder}'" + (f" of view '{sent.view}'" if sent.view else "")
        require(sent.view not in views, "bad_prompt", f"{where} is given more than once")
        try:
            labels = labels_of_image(sent.mask) if len(sent.mask.data) else None
            views[sent.view] = PromptImage(image_to_rgb(sent.image), labels)
        except MalformedError as error:
            raise MalformedError("bad_prompt", f"{where}: {error.detail}") from error
    if problem := placeholder_problem(msg.text, pictures):
        raise MalformedError("bad_prompt", problem)
    return pictures


def prompt_to_msg(text: str, pictures: Pictures) -> MultimodalPrompt:
    """Return the message of a prompt."""
    return MultimodalPrompt(
        text=text,
        images=[
            PromptImageMsg(
                placeholder=name,
                view="" if view == ALL_VIEWS else view,
                image=image_msg(image.image, "rgb8"),
                mask=(
                    Image()
                    if image.labels is None
                    else image_msg(image.labels.astype(np.uint16), "mono16")
                ),
            )
            for name, views in pictures.items()
            for view, image in views.items()
        ],
    )


def image_msg(pixels: NDArray[Any], encoding: str) -> Image:
    """Return an image message of pixels [H, W] or [H, W, channels], little-endian."""
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        step=data.nbytes // pixels.shape[0],
        data=array("B", data.tobytes()),
    )
