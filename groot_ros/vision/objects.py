# SPDX-License-Identifier: Apache-2.0
"""Objects of a picture as VIMA sees them: a crop and a box per view, from instance labels.

VIMA was trained on images of 128 x 256 pixels. Boxes of other images are scaled to that size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groot_ros.vision.resize import resize_area

#: Height and width of the images that boxes refer to, in pixels.
REFERENCE_SIZE = (128, 256)
#: Largest centre x, centre y, height and width of a box.
BOX_UNITS = (256.0, 128.0, 128.0, 256.0)
#: Side of a crop of the public models, in pixels.
CROP_SIDE = 32
#: An object with fewer pixels than this counts as not visible.
_MIN_PIXELS = 2
#: Label of pixels that belong to no object.
BACKGROUND = 0


@dataclass(frozen=True)
class View:
    """Picture from one camera, and the object of every pixel.

    Attributes:
        image: RGB bytes [H, W, 3].
        labels: id of the object that a pixel shows [H, W]; 0 is the background.

    """

    image: NDArray[np.uint8]
    labels: NDArray[Any]

    def __post_init__(self) -> None:
        """Check shapes and types.

        Raises:
            ValueError: the image is not RGB bytes, or the labels do not fit it.

        """
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(
                f"image must be RGB bytes [H, W, 3], not {self.image.dtype} "
                f"{list(self.image.shape)}"
            )
        if self.labels.shape != self.image.shape[:2] or self.labels.dtype.kind not in "iu":
            raise ValueError(
                f"labels must be whole numbers {list(self.image.shape[:2])} as the image, not "
                f"{self.labels.dtype} {list(self.labels.shape)}"
            )


@dataclass(frozen=True)
class Objects:
    """Objects of one picture, by view; the slots that a mask leaves out are padding.

    Attributes:
        ids: id of each object, in the order in which they were looked for.
        crops: bytes [N, 3, side, side].
        boxes: centre x, centre y, height and width in reference pixels [N, 4].
        mask: bool [N], True for an object, False for padding.

    """

    ids: tuple[int, ...]
    crops: Mapping[str, NDArray[np.uint8]]
    boxes: Mapping[str, NDArray[np.float32]]
    mask: Mapping[str, NDArray[np.bool_]]

    @property
    def views(self) -> tuple[str, ...]:
        """Return the names of the views, sorted."""
        return tuple(sorted(self.crops))

    def padded(self, slots: Mapping[str, int]) -> "Objects":
        """Return the same objects in more slots per view; added slots are zero.

        Raises:
            ValueError: a view has more objects than slots.

        """

        def extend(view: str, array: NDArray[Any]) -> NDArray[Any]:
            added = slots[view] - len(array)
            if added < 0:
                raise ValueError(
                    f"view '{view}' has {len(array)} objects, more than {slots[view]} slots"
                )
            if not added:
                return array
            return np.pad(array, [(0, added), *[(0, 0)] * (array.ndim - 1)])

        crops, boxes, mask = (
            {view: extend(view, array) for view, array in arrays.items()}
            for arrays in (self.crops, self.boxes, self.mask)
        )
        return Objects(self.ids, crops, boxes, mask)


def stack(pictures: Sequence[Objects]) -> Objects:
    """Stack pictures with equal numbers of slots along a new first dimension."""
    crops, boxes, mask = (
        {view: np.stack([getattr(p, name)[view] for p in pictures]) for view in pictures[0].views}
        for name in ("crops", "boxes", "mask")
    )
    return Objects(sum((p.ids for p in pictures), ()), crops, boxes, mask)


def find_objects(
    views: Mapping[str, View],
    ids: Sequence[int] | None = None,
    *,
    side: int = CROP_SIDE,
    allow_hidden: bool = False,
) -> Objects:
    """Cut the objects of one picture out of all its views.

    Args:
        views: name of the camera -> its picture.
        ids: ids to look for; None looks for all labels except the background, in their order.
        side: height and width of a crop in pixels.
        allow_hidden: accept objects that a view does not show. Their slots are padding, after the
            objects that it shows.

    Raises:
        ValueError: there is no object, an id is the background or given twice, or a view does not
            show an object and `allow_hidden` is false.

    """
    if ids is None:
        found = {int(label) for view in views.values() for label in np.unique(view.labels)}
        ids = sorted(found - {BACKGROUND})
    if BACKGROUND in ids or len(set(ids)) < len(ids):
        raise ValueError(f"ids of objects must differ and not be {BACKGROUND}: {list(ids)}")
    if not ids:
        raise ValueError(f"no object in the labels of {', '.join(sorted(views)) or 'no view'}")
    crops, boxes, mask = {}, {}, {}
    for name, view in sorted(views.items()):
        seen = [(i, box) for i in ids if (box := _bounds(view.labels, i)) is not None]
        hidden = [i for i in ids if i not in {i for i, _ in seen}]
        if hidden and not allow_hidden:
            others = sorted(n for n, v in views.items() if _bounds(v.labels, hidden[0]) is not None)
            raise ValueError(
                f"object {hidden[0]} is not visible in view '{name}'"
                + (f", but in {', '.join(others)}" if others else "")
                + ": every view must show it, under the same id"
            )
        crops[name] = np.zeros((len(ids), 3, side, side), np.uint8)
        boxes[name] = np.zeros((len(ids), 4), np.float32)
        mask[name] = np.arange(len(ids)) < len(seen)
        for slot, (_, bounds) in enumerate(seen):
            crops[name][slot] = crop(view.image, bounds, side)
            boxes[name][slot] = _box(bounds, view.labels.shape)
    return Objects(tuple(ids), crops, boxes, mask)


#: First row, last row, first column, last column.
Bounds = tuple[int, int, int, int]


def crop(image: NDArray[np.uint8], bounds: Bounds, side: int = CROP_SIDE) -> NDArray[np.uint8]:
    """Cut a box out of [H, W, 3], pad it with black to a square, and resize it by area.

    Returns:
        [3, side, side].

    """
    top, bottom, left, right = bounds
    cut = image[top : bottom + 1, left : right + 1]
    height, width = cut.shape[:2]
    missing = abs(height - width)
    pad = (missing // 2, missing - missing // 2)
    square = np.pad(cut, [(0, 0), pad, (0, 0)] if height > width else [pad, (0, 0), (0, 0)])
    return np.array(resize_area(square.transpose(2, 0, 1), side, side), dtype=np.uint8)


def _bounds(labels: NDArray[Any], number: int) -> Bounds | None:
    """Return the box of an object, None if it is not visible."""
    rows, columns = np.nonzero(labels == number)
    if len(rows) < _MIN_PIXELS:
        return None
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def _box(bounds: Bounds, size: tuple[int, ...]) -> tuple[float, float, float, float]:
    """Return centre x, centre y, height and width in reference pixels.

    The centre is rounded down, and height and width are those between the outermost pixels, as in
    the training data.
    """
    top, bottom, left, right = bounds
    down, across = REFERENCE_SIZE[0] / size[0], REFERENCE_SIZE[1] / size[1]
    x, y = (left + right) // 2, (top + bottom) // 2
    return x * across, y * down, (bottom - top) * down, (right - left) * across
