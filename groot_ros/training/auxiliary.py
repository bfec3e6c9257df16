# SPDX-License-Identifier: Apache-2.0
"""Auxiliary loss of small networks: locate the named things in each image, in training only.

A network that starts from random weights learns from the actions alone only slowly where in an
image the named object is, and to tell it to the action head. The read-out consists of linear layers
on the backbone's features; it is no part of the checkpoint.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

#: Size of an image in deviations of the normalised features.
_SPAN = 6.0


class LocationReadout(nn.Module):
    """Predicts where things are.

    From each image token it predicts for each thing a score and an offset. From the first image
    token on, it predicts the positions of all things from every token, as the action head attends
    to all of them. Attention is causal, so only the last token has seen the instruction and all
    images; it counts as much as the others together. The layer of the positions is orthogonal and
    not trained: the positions must be a visible part of the normalised features, or the action
    head would find them late.
    """

    def __init__(self, width: int, images: int, things: int, seed: int) -> None:
        """Build the layers.

        Args:
            width: width of the features.
            images: number of images per sample.
            things: number of things per image.
            seed: seed of the weights.

        """
        super().__init__()
        self.things = things
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.output = nn.Linear(width, 3 * things)
            self.summary = nn.Linear(width, images * things * 2, bias=False)
            nn.init.orthogonal_(self.summary.weight)
        self.summary.requires_grad_(False)

    def loss(
        self, features: Tensor, image_mask: Tensor, labels: Tensor, grids: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Return the cross-entropy of the cell, plus the errors within it and of the positions.

        The errors are smooth L1 norms in cells.

        Args:
            features: [B, S, C].
            image_mask: bool [B, S].
            labels: [B, images, K, 2], (right, down) as shares, NaN where not visible.
            grids: rows and columns of tokens of each image of a sample.

        """
        batch = len(features)
        sizes = [rows * columns for rows, columns in grids]
        tokens = features[image_mask].reshape(batch, sum(sizes), -1)
        predicted = self.output(tokens.float()).reshape(batch, -1, self.things, 3)
        behind = image_mask.cumsum(1) > 0
        normal = F.layer_norm(features.float(), features.shape[-1:])
        positions = self.summary(normal).reshape(*features.shape[:2], *labels.shape[1:])
        positions = 0.5 + positions / _SPAN
        total = features.new_zeros((), dtype=torch.float32)
        count = 0
        for image, (part, (rows, columns)) in enumerate(
            zip(predicted.split(sizes, dim=1), grids, strict=True)
        ):
            where = labels[:, image]
            visible = ~where.isnan().any(-1)
            if not visible.any():
                continue
            scale = where.new_tensor([columns, rows])
            cells = torch.nan_to_num(where) * scale
            right, down = cells.floor().long().unbind(-1)
            target = (down.clamp(0, rows - 1) * columns + right.clamp(0, columns - 1))[:, None]
            own = part.gather(1, target[..., None].expand(-1, -1, -1, 3))[:, 0]
            scores = part[..., 0].transpose(1, 2)[visible]
            chosen = F.cross_entropy(scores, target[:, 0][visible], reduction="sum")
            inside = cells - cells.floor() - 0.5
            offset = F.smooth_l1_loss(own[..., 1:][visible], inside[visible], reduction="sum")
            found = positions[:, :, image] * scale
            errors = F.smooth_l1_loss(found, cells[:, None].expand_as(found), reduction="none")
            mean = (errors * behind[..., None, None]).sum(1) / behind.sum(1)[:, None, None]
            summary = (mean + errors[:, -1])[visible].sum()
            total = total + chosen + offset + summary
            count += int(visible.sum())
        return total / max(1, count)
