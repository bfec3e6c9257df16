# SPDX-License-Identifier: Apache-2.0
"""The whole VIMA network: prompt and observations to scores of actions.

A history is a sequence of steps, each one the object tokens of the step (views in the order of
their names) and then one action token. The action of a step is predicted at its last object slot,
padding or not, as in the vendor's code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from groot_ros.families.vima.actions import ActionDecoder, ActionEncoder, Parts, from_bins
from groot_ros.families.vima.config import VimaConfig
from groot_ros.families.vima.controller import Controller, History, PromptMemory
from groot_ros.families.vima.object_encoder import ObjectEncoder, ObjectTensors
from groot_ros.families.vima.perceptron import perceptron
from groot_ros.families.vima.prompt_encoder import T5PromptEncoder, WordEmbedding, interleave


class Vima(nn.Module):
    """Network with the parameter names of the public checkpoints."""

    def __init__(self, config: VimaConfig) -> None:
        super().__init__()
        self.config = config
        width, prompt_width = config.embed_dim, config.prompt.d_model
        rows, end_effector_width = config.end_effectors
        self.xattn_gpt = Controller(config)
        self.obj_encoder = ObjectEncoder(config.objects, config.views, width)
        self.end_effector_encoder = nn.Embedding(rows, end_effector_width)
        self.obs_fusion_layer = nn.Linear(width + end_effector_width, width)
        self.action_encoder = ActionEncoder(config)
        self.action_decoder = ActionDecoder(config)
        self.prompt_embedding = WordEmbedding(config.word_vocab, prompt_width)
        self.t5_prompt_encoder = T5PromptEncoder(config.prompt)
        # Checkpoints have no layer here where it would keep the width.
        self.t5_prompt_encoder_post_layer = (
            nn.Identity() if prompt_width == width else nn.Linear(prompt_width, width, bias=False)
        )
        self.prompt_obj_post_layer = perceptron(width, config.prompt_obj_post, prompt_width)

    def assemble_prompt(
        self, items: Sequence[Sequence[int]], words: Tensor, pictures: ObjectTensors | None
    ) -> tuple[Tensor, Tensor]:
        """Interleave words and objects.

        Args:
            items: WORD or PICTURE for every item of each prompt.
            words: token ids of all prompts, one prompt after the other, [W].
            pictures: all pictures in the same order, [P, N, ...]; None without pictures.

        Returns:
            Embeddings [B, S, d_model], and bool [B, S] that is False at padded slots of a picture
            and after the end of a shorter prompt.

        Raises:
            ValueError: the items do not match the numbers of words and pictures.

        """
        embedded = self.prompt_embedding(words)
        if pictures is None:
            objects, visible = embedded.new_zeros(0, 0, embedded.shape[1]), None
        else:
            objects = self.prompt_obj_post_layer(self.obj_encoder(pictures))
            visible = pictures.visible()
        return interleave(items, embedded, objects, visible)

    def encode_prompt(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map embeddings [B, S, d_model] and bool [B, S] to prompt tokens [B, S, embed_dim]."""
        return self.t5_prompt_encoder_post_layer(self.t5_prompt_encoder(tokens, mask))

    def observation_tokens(self, objects: ObjectTensors, end_effector: Tensor) -> Tensor:
        """Return the tokens of objects.

        Args:
            objects: objects [B, T, N, ...] per view.
            end_effector: row of the end effector's table [B, T].

        Returns:
            [B, T, Q, embed_dim]; Q is the number of slots of all views.

        """
        return self.with_end_effector(self.obj_encoder(objects), end_effector)

    def with_end_effector(self, tokens: Tensor, end_effector: Tensor) -> Tensor:
        """Add the end effector [B, T] to tokens of objects [B, T, Q, embed_dim]."""
        tool = self.end_effector_encoder(end_effector)[:, :, None].expand(*tokens.shape[:3], -1)
        return self.obs_fusion_layer(torch.cat([tokens, tool], dim=-1))

    def action_tokens(self, bins: Parts) -> Tensor:
        """Map the bins of actions, [..., 2] or [..., 4] each, to tokens [..., embed_dim]."""
        return self.action_encoder(from_bins(bins, self.config.bins))

    def predict(
        self,
        observations: Tensor,
        visible: Tensor,
        actions: Tensor | None,
        prompt: PromptMemory,
        history: History | None = None,
    ) -> tuple[Tensor, History]:
        """Predict the action of every step.

        Args:
            observations: object tokens [B, T, Q, C].
            visible: bool [B, T, Q], False for padding.
            actions: tokens of the actions between these steps [B, T - 1, C]; with a history also
                of the action before the first step, [B, T, C]. None if there is none.
            prompt: prompt of each row.
            history: steps before these; None begins with the first step.

        Returns:
            Predicted tokens [B, T, C], and the history that includes these steps.

        Raises:
            ValueError: the number of actions does not fit, or the history is full or begins with
                padding.

        """
        batch, steps, slots = visible.shape
        before = int(history is not None)
        given = 0 if actions is None else actions.shape[1]
        if given != steps - 1 + before:
            raise ValueError(
                f"{steps} steps need {steps - 1 + before} actions, one before each step but the "
                f"first of a history; {given} were given"
            )
        if actions is None:
            tokens, mask = observations.flatten(1, 2), visible.flatten(1, 2)
        else:
            # Each step as [action, objects]; at the beginning of a history the first has no action.
            empty = observations.new_zeros(batch, 1 - before, observations.shape[-1])
            led = torch.cat([empty, actions], dim=1)[:, :, None]
            tokens = torch.cat([led, observations], dim=2).flatten(1, 2)[:, 1 - before :]
            mask = torch.cat([torch.ones_like(visible[..., :1]), visible], dim=2)
            mask = mask.flatten(1, 2)[:, 1 - before :]
        out, history = self.xattn_gpt(tokens, mask, prompt, history)
        first = slots - 1 + before
        return out[:, first :: slots + 1], history
