# SPDX-License-Identifier: Apache-2.0
"""Pictures of a prompt: what its placeholders show, as images with instance labels.

In "put {0} into {1}", {0} and {1} are placeholders. The picture of a placeholder is one image per
view. A mask says which pixels belong to which object; without one, the image is one object.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.invariants import require

#: Images of one prompt, at most: placeholders times views.
MAX_PROMPT_IMAGES = 64
#: Name of an image that is the same in all views.
ALL_VIEWS = ""
#: Placeholder in the text of a prompt.
PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TOUCHING = re.compile(r"\w\{|\}\w|\}\{")


@dataclass(frozen=True, eq=False)
class PromptImage:
    """Image of a placeholder in one view.

    Attributes:
        image: RGB bytes [H, W, 3].
        labels: object of each pixel [H, W], 0 = background; None = one object fills the image.

    """

    image: NDArray[np.uint8]
    labels: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        image, labels = self.image, self.labels
        require(
            image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8,
            "bad_prompt",
            f"an image must be RGB bytes [H, W, 3], not {image.dtype} {list(image.shape)}",
        )
        require(min(image.shape[:2]) > 1, "bad_prompt", f"an image is empty: {list(image.shape)}")
        require(
            labels is None or (labels.dtype.kind in "iu" and labels.shape == image.shape[:2]),
            "bad_prompt",
            f"a mask must have the size of its image, {list(image.shape[:2])}, not "
            f"{[] if labels is None else list(labels.shape)}",
        )

    def same_as(self, other: "PromptImage") -> bool:
        """Return whether all pixels and labels are equal."""
        if not np.array_equal(self.image, other.image):
            return False
        if self.labels is None or other.labels is None:
            return self.labels is other.labels
        return np.array_equal(self.labels, other.labels)


#: Placeholder -> view, or ALL_VIEWS -> image.
Pictures: TypeAlias = Mapping[str, Mapping[str, PromptImage]]
NO_PICTURES: Pictures = MappingProxyType({})


def same_pictures(one: Pictures, other: Pictures) -> bool:
    """Return whether two prompts have equal images under equal names."""
    return one.keys() == other.keys() and all(
        views.keys() == other[name].keys()
        and all(image.same_as(other[name][view]) for view, image in views.items())
        for name, views in one.items()
    )


def placeholder_problem(text: str, pictures: Iterable[str]) -> str:
    """Return why text and pictures do not belong together, or an empty string.

    Args:
        text: words and placeholders {name}.
        pictures: names of the placeholders that have a picture.

    """
    named, given = set(PLACEHOLDER.findall(text)), set(pictures)
    missing, unused = sorted(named - given), sorted(given - named)
    if set(PLACEHOLDER.sub("", text)) & set("{}"):
        problem = (
            "a brace belongs to no placeholder; write {name} with letters, digits and underscores"
        )
    elif missing:
        problem = f"placeholder {{{missing[0]}}} has no picture"
    elif unused:
        problem = f"picture '{unused[0]}' is given, but the text has no placeholder {{{unused[0]}}}"
    elif _TOUCHING.search(text):
        problem = "a placeholder touches a word; separate them by a space"
    else:
        return ""
    return f"prompt '{text}': {problem}"
