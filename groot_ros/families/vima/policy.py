# SPDX-License-Identifier: Apache-2.0
"""Use VIMA as a library: load a checkpoint, open a session with a prompt, and step through it.

    policy = load(Path("20M"))
    session = policy.session(MultimodalPrompt("put the {dragged_obj} into the {base_obj} .", ...))
    action = session.step(find_objects(views), "suction")

A prompt is encoded once, and a session keeps the keys and values of its earlier steps.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from groot_ros.checkpoint.locate import find_checkpoint
from groot_ros.core.config_reader import CheckpointError
from groot_ros.families.vima.actions import PickPlace, TableBounds
from groot_ros.families.vima.checkpoint import load_network
from groot_ros.families.vima.config import END_EFFECTORS
from groot_ros.families.vima.controller import History, PromptMemory
from groot_ros.families.vima.network import Vima
from groot_ros.families.vima.object_encoder import ObjectTensors
from groot_ros.families.vima.prompt import MultimodalPrompt, PromptTokenizer, PromptTokens
from groot_ros.vision.objects import Objects, stack


def load(
    path: str | Path, *, tokenizer: str | Path | None = None, device: torch.device | str = "cpu"
) -> "VimaPolicy":
    """Load a checkpoint.

    Args:
        path: a public .ckpt file, or a directory with config.json and model.safetensors.
        tokenizer: tokenizer.json or its directory; None takes the one of the checkpoint's
            directory. A public checkpoint needs T5's.
        device: device of the network.

    Raises:
        CheckpointError: a file is missing or malformed; one line with the file and the problem.
        ImportError: transformers is not installed.

    """
    found = find_checkpoint(path)
    network = load_network(found, device)
    file = found / "tokenizer.json" if tokenizer is None else Path(tokenizer).expanduser()
    words = None
    if tokenizer is not None or (found.is_dir() and file.is_file()):
        words = PromptTokenizer.load(file)
        if words.rows > network.config.word_vocab:
            raise CheckpointError(
                f"{file}: has {words.rows} token ids, but the word table of {found} has "
                f"{network.config.word_vocab} rows; give the tokenizer it was trained with"
            )
    return VimaPolicy(network, words)


class VimaPolicy:
    """Network and tokenizer.

    Attributes:
        network: the network.
        tokenizer: tokenizer of prompts; None if no file was given.

    """

    def __init__(self, network: Vima, tokenizer: PromptTokenizer | None = None) -> None:
        self.network, self.tokenizer = network, tokenizer
        self._last: tuple[bytes, PromptMemory] | None = None

    @property
    def device(self) -> torch.device:
        """Return the device of the network."""
        return self.network.obs_fusion_layer.weight.device

    def session(
        self, prompt: MultimodalPrompt | PromptTokens, bounds: TableBounds | None = None
    ) -> "Session":
        """Begin a task.

        Args:
            prompt: words and pictures, or their tokens.
            bounds: area of the table that actions are decoded to; None is VIMA's.

        Raises:
            ValueError: there is no tokenizer, a word is not in its vocabulary, the views are not
                those of the checkpoint, or the prompt is too long.

        """
        if isinstance(prompt, MultimodalPrompt):
            if self.tokenizer is None:
                raise ValueError(
                    "no tokenizer: give its tokenizer.json to load(), or put it into the "
                    "checkpoint's directory"
                )
            prompt = self.tokenizer.tokenise(prompt)
        return Session(self, self.encode(prompt), bounds)

    @torch.inference_mode()
    def encode(self, prompt: PromptTokens) -> PromptMemory:
        """Encode a prompt; the last one is kept, so a task that starts again is not encoded twice.

        Raises:
            ValueError: see `session`.

        """
        if self._last is not None and self._last[0] == prompt.key:
            return self._last[1]
        pictures = None
        if prompt.pictures is not None:
            self.require_views(prompt.pictures)
            pictures = ObjectTensors.of(prompt.pictures, self.device)
        words = torch.from_numpy(prompt.words).to(self.device)
        tokens, mask = self.network.assemble_prompt([prompt.items], words, pictures)
        memory = self.network.xattn_gpt.remember(self.network.encode_prompt(tokens, mask), mask)
        self._last = prompt.key, memory
        return memory

    def require_views(self, objects: Objects) -> None:
        """Raise ValueError unless objects are in the views of the checkpoint."""
        expected = self.network.config.views
        if objects.views != expected:
            raise ValueError(
                f"views must be {', '.join(expected)}, not {', '.join(objects.views) or 'none'}"
            )


@dataclass(frozen=True)
class _Past:
    """Steps so far: their keys and values, the last action, and the largest number of slots."""

    history: History
    action: Tensor
    slots: int


class Session:
    """One task: the encoded prompt, and the steps so far.

    Attributes:
        prompt: the encoded prompt.
        bounds: area of the table; None is VIMA's.
        steps: number of steps so far.

    """

    def __init__(
        self, policy: VimaPolicy, prompt: PromptMemory, bounds: TableBounds | None = None
    ) -> None:
        self.prompt, self.bounds, self.steps = prompt, bounds, 0
        self._policy = policy
        self._past: _Past | None = None
        #: What `take_back` returns to; empty if there is nothing to take back.
        self._before: tuple[_Past | None, ...] = ()

    @torch.inference_mode()
    def step(self, objects: Objects, end_effector: str | int) -> PickPlace:
        """Return the next action; the session remembers it as executed.

        After an error the session is as it was before.

        Args:
            objects: objects that the cameras see now.
            end_effector: "suction" or "spatula", or a row of the checkpoint's table.

        Raises:
            ValueError: the views are not those of the checkpoint, the first slot of the first step
                is padding, the end effector is unknown, the history is full, or the network's
                output is not finite or no rotation.

        """
        policy, network = self._policy, self._policy.network
        policy.require_views(objects)
        device = policy.device
        tensors = ObjectTensors.of(stack([stack([objects])]), device)
        tool = torch.tensor([[self._row(end_effector)]], device=device)
        tokens, visible = network.observation_tokens(tensors, tool), tensors.visible()
        past = self._past
        slots = visible.shape[2] if past is None else max(past.slots, visible.shape[2])
        # As in the vendor's code: a step with fewer objects than an earlier one ends with zeros,
        # and the action is read there.
        missing = slots - visible.shape[2]
        tokens = torch.nn.functional.pad(tokens, (0, 0, 0, missing))
        visible = torch.nn.functional.pad(visible, (0, missing))
        action, history = (None, None) if past is None else (past.action, past.history)
        predicted, history = network.predict(tokens, visible, action, self.prompt, history)
        scores = network.action_decoder(predicted[:, -1])
        chosen = network.action_decoder.decode(
            {part: values[0] for part, values in scores.items()}, self.bounds
        )
        bins = {
            part: torch.tensor([[values]], device=device) for part, values in chosen.bins.items()
        }
        self._before = (past,)
        self._past = _Past(history, network.action_tokens(bins), slots)
        self.steps += 1
        return chosen

    def take_back(self) -> None:
        """Forget the last step, whose action was not executed.

        Raises:
            ValueError: there is no step, or it was taken back before.

        """
        if not self._before:
            raise ValueError("no step to take back")
        (self._past,) = self._before
        self._before = ()
        self.steps -= 1

    def _row(self, end_effector: str | int) -> int:
        rows = self._policy.network.config.end_effectors[0]
        known = END_EFFECTORS if rows == len(END_EFFECTORS) else ()
        row = known.index(end_effector) if end_effector in known else end_effector
        if isinstance(row, str) or not 0 <= row < rows:
            names = f"{', '.join(known)}, or " if known else ""
            raise ValueError(
                f"end effector must be {names}a number from 0 to {rows - 1}, not {end_effector!r}"
            )
        return row
