# SPDX-License-Identifier: Apache-2.0
"""Pictures of a prompt or of a scene to objects; what cannot be resolved is rejected.

An image without a mask shows one object, which fills it: the crop of VIMA's own prompts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.core.prompt import ALL_VIEWS, Pictures, PromptImage
from groot_ros.families.family import UnusableObjectsError
from groot_ros.families.vima.prompt import MultimodalPrompt
from groot_ros.vision.objects import BACKGROUND, Objects, View, find_objects

#: Label of the object of images without a mask.
_ONLY_OBJECT = 1


def assemble_prompt(
    text: str, pictures: Pictures, views: Sequence[str], side: int
) -> MultimodalPrompt:
    """Return a prompt with the objects of its pictures.

    Args:
        text: words and placeholders.
        pictures: pictures of the placeholders.
        views: views of the checkpoint.
        side: height and width of a crop in pixels.

    Raises:
        ValueError: a placeholder has no picture or a picture no placeholder, a view is missing, or
            the views of a picture do not show the same objects under the same ids.

    """
    objects = {}
    for name, given in pictures.items():
        try:
            objects[name] = _find(_labelled(_by_view(given, views)), side)
        except ValueError as error:
            raise ValueError(f"prompt '{text}': picture '{name}': {error}") from error
    return MultimodalPrompt(text, objects)


def find_scene(
    images: Mapping[str, NDArray[np.uint8]], labels: Mapping[str, NDArray[Any]], side: int
) -> Objects:
    """Return the objects that the cameras see.

    Args:
        images: view -> RGB [H, W, 3].
        labels: view -> object of each pixel [H, W].
        side: height and width of a crop in pixels.

    Raises:
        UnusableObjectsError: there is none, or a view does not show an object that another shows.

    """
    try:
        return _find({view: View(image, labels[view]) for view, image in images.items()}, side)
    except ValueError as error:
        raise UnusableObjectsError(str(error)) from error


def _find(views: Mapping[str, View], side: int) -> Objects:
    """Return the objects of all views, which must show the same ones."""
    seen = {view: set(np.unique(v.labels).tolist()) - {BACKGROUND} for view, v in views.items()}
    everywhere = set.intersection(*seen.values())
    only = {view: sorted(ids - everywhere) for view, ids in seen.items()}
    partly = [view for view, ids in only.items() if ids]
    if len(partly) > 1:
        shown = ", ".join(f"'{view}' shows {', '.join(map(str, only[view]))}" for view in partly)
        raise ValueError(
            f"ids differ between views: {shown}; an object must have the same id in every view"
        )
    if partly:
        raise ValueError(
            f"object {only[partly[0]][0]} is visible in view '{partly[0]}' only: every view must "
            "show it, under the same id"
        )
    return find_objects(views, side=side)


def _by_view(given: Mapping[str, PromptImage], views: Sequence[str]) -> dict[str, PromptImage]:
    if set(given) == {ALL_VIEWS}:
        return dict.fromkeys(views, given[ALL_VIEWS])
    names = {view or "all views" for view in given}
    if ALL_VIEWS in given or names != set(views):
        raise ValueError(
            f"has images of {', '.join(sorted(names)) or 'no view'}: give one for all views, or "
            f"one for each of {', '.join(views)}"
        )
    return dict(given)


def _labelled(images: Mapping[str, PromptImage]) -> dict[str, View]:
    """Return the images with labels; those without a mask get the id of the only object."""
    ids = {
        int(label)
        for image in images.values()
        if image.labels is not None
        for label in np.unique(image.labels)
    } - {BACKGROUND}
    bare = [view for view, image in images.items() if image.labels is None]
    if bare and len(ids) > 1:
        raise ValueError(
            f"the image of view '{bare[0]}' has no mask, but another view shows {len(ids)} "
            "objects: give its mask as well"
        )
    only = next(iter(ids), _ONLY_OBJECT)
    return {
        view: View(
            image.image,
            np.full(image.image.shape[:2], only, np.uint16)
            if image.labels is None
            else image.labels,
        )
        for view, image in images.items()
    }
