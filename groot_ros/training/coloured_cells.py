"""What of each cube lies in each cell of a picture, read off its colours."""

import numpy as np
from numpy.typing import NDArray

#: A pixel belongs to a cube when the other channels stay below these shares of the cube's own
#: (the arm's orange keeps a green share of 0.67 and is none), and its own is bright enough.
_OTHERS = np.array([[0, 0.5, 0.5], [0.55, 0, 0.7], [0.5, 0.65, 0]])
_BRIGHT = 50
#: Per colour: share of the cell, and the share's first moments downwards and to the right.
WIDTH = 9


def describe_cells(images: NDArray[np.uint8], cell: int) -> NDArray[np.float32]:
    """[N, views, 3, h, w] to [N, tokens, WIDTH], tokens in the model's order.

    The moments are in cells from the cell's middle, so that share and moments together say where
    inside it the colour lies.
    """
    n, views, _, h, w = images.shape
    pixels = images.astype(np.float32)
    masks = []
    for own, shares in enumerate(_OTHERS):
        mask = pixels[:, :, own] > _BRIGHT
        for other, share in enumerate(shares):
            if other != own:
                mask &= pixels[:, :, other] < share * pixels[:, :, own]
        masks.append(mask)
    inside = np.stack(masks, axis=2).astype(np.float32)
    inside = inside.reshape(n, views, 3, h // cell, cell, w // cell, cell)
    offset = ((np.arange(cell) - (cell - 1) / 2) / cell).astype(np.float32)
    share = inside.mean((4, 6))
    down = (inside * offset[:, None, None]).mean((4, 6))
    right = (inside * offset).mean((4, 6))
    # [n, views, colours, rows, columns, 3] to one row of numbers per token.
    described = np.stack([share, down, right], axis=-1).transpose(0, 1, 3, 4, 2, 5)
    return described.reshape(n, -1, WIDTH)
