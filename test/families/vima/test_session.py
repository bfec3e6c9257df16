# SPDX-License-Identifier: Apache-2.0
"""Sessions: a prompt is encoded once, and steps with a kept history equal a full recompute."""

import pytest
import torch
from support.tiny_vima import objects, prompt, scene, tiny_policy

from groot_ros.families.vima.actions import PickPlace
from groot_ros.families.vima.network import Vima
from groot_ros.families.vima.object_encoder import ObjectTensors
from groot_ros.families.vima.policy import Session, VimaPolicy
from groot_ros.vision.objects import Objects, find_objects, stack

pytest.importorskip("transformers", reason="transformers is not installed")
# Importing transformers takes seconds.
pytestmark = pytest.mark.slow


@pytest.fixture
def policy() -> VimaPolicy:
    policy = tiny_policy()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in policy.network.named_parameters():
        # Large enough that every input changes the probabilities of the bins.
        if parameter.ndim > 1:
            parameter.normal_(std=0.4, generator=generator)
        elif name.endswith("bias"):
            parameter.normal_(std=0.1, generator=generator)
    return policy


def largest_change(one: PickPlace, other: PickPlace) -> float:
    """Return the largest difference of the probabilities of the chosen bins."""
    pairs = zip(one.probabilities.values(), other.probabilities.values(), strict=True)
    return max(abs(a - b) for p, q in pairs for a, b in zip(p, q, strict=True))


def recomputed(
    policy: VimaPolicy, session: Session, steps: list[Objects], tools: list[int], bins: list
) -> PickPlace:
    """Return the action of the last step, computed from all steps without a history."""
    network: Vima = policy.network
    slots = max(sum(len(m) for m in s.mask.values()) for s in steps)
    tokens, shown = [], []
    for step, tool in zip(steps, tools, strict=True):
        tensors = ObjectTensors.of(stack([stack([step])]))
        own = network.observation_tokens(tensors, torch.tensor([[tool]]))
        missing = slots - own.shape[2]
        tokens.append(torch.nn.functional.pad(own, (0, 0, 0, missing)))
        shown.append(torch.nn.functional.pad(tensors.visible(), (0, missing)))
    actions = None
    if bins:
        before = {part: torch.tensor([[b[part] for b in bins]]) for part in bins[0]}
        actions = network.action_tokens(before)
    predicted, _ = network.predict(
        torch.cat(tokens, dim=1), torch.cat(shown, dim=1), actions, session.prompt
    )
    scores = network.action_decoder(predicted[:, -1])
    return network.action_decoder.decode({part: values[0] for part, values in scores.items()})


def require_equal(found: PickPlace, expected: PickPlace) -> None:
    assert found.bins == expected.bins
    assert largest_change(found, expected) < 1e-5


@pytest.mark.parametrize("numbers", [(2, 2, 2, 2), (1, 3, 2), (3, 1, 2), (2, 4, 1, 4, 1)])
def test_every_step_equals_a_recompute_of_all_steps_also_as_objects_come_and_go(
    policy: VimaPolicy, numbers: tuple[int, ...]
) -> None:
    session = policy.session(prompt())
    steps, tools, bins = [], [], []
    for index, number in enumerate(numbers):
        steps.append(objects(*range(1, number + 1), seed=10 + index))
        tools.append(index % 2)
        action = session.step(steps[-1], tools[-1])
        require_equal(action, recomputed(policy, session, steps, tools, bins))
        bins.append(action.bins)
    assert session.steps == len(numbers)


def test_hidden_objects_in_a_step_equal_a_recompute(policy: VimaPolicy) -> None:
    session = policy.session(prompt())
    steps = [
        find_objects(scene({"front": (1, 2), "top": (2,)}, 3), (1, 2), allow_hidden=True),
        find_objects(scene({"front": (2,), "top": (1, 2)}, 4), (1, 2), allow_hidden=True),
    ]
    first = session.step(steps[0], "suction")
    second = session.step(steps[1], "spatula")
    require_equal(first, recomputed(policy, session, steps[:1], [0], []))
    require_equal(second, recomputed(policy, session, steps, [0, 1], [first.bins]))


def test_the_prompt_is_encoded_once_per_task(
    policy: VimaPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    encode = policy.network.encode_prompt
    monkeypatch.setattr(
        policy.network, "encode_prompt", lambda *given: runs.append(1) or encode(*given)
    )
    session = policy.session(prompt())
    for seed in range(3):
        session.step(objects(1, 2, seed=seed), "suction")
    assert len(runs) == 1
    policy.session(prompt()).step(objects(1, 2), "suction")
    assert len(runs) == 1
    policy.session(prompt(seed=5))
    assert len(runs) == 2


def test_the_history_changes_the_action_and_a_new_session_forgets_it(policy: VimaPolicy) -> None:
    session = policy.session(prompt())
    now = objects(1, 2, seed=7)
    first = session.step(now, "suction")
    assert largest_change(session.step(now, "suction"), first) > 1e-3
    assert policy.session(prompt()).step(now, "suction") == first


def test_prompt_and_end_effector_change_the_action(policy: VimaPolicy) -> None:
    now = objects(1, 2, seed=7)
    first = policy.session(prompt()).step(now, "suction")
    assert largest_change(policy.session(prompt(seed=9)).step(now, "suction"), first) > 1e-3
    assert largest_change(policy.session(prompt()).step(now, "spatula"), first) > 1e-3
    assert policy.session(prompt()).step(now, 0) == first


def test_two_sessions_do_not_disturb_each_other(policy: VimaPolicy) -> None:
    steps = [objects(1, 2, seed=seed) for seed in range(3)]
    alone = policy.session(prompt())
    expected = [alone.step(step, 0) for step in steps]
    one, other = policy.session(prompt()), policy.session(prompt(seed=5))
    found = []
    for step in steps:
        found.append(one.step(step, 0))
        other.step(objects(3, seed=8), 1)
    assert found == expected


def test_a_full_history_is_rejected_and_leaves_the_session_as_it_was() -> None:
    policy = tiny_policy(n_positions=10)
    session = policy.session(prompt())
    two, one = objects(1, 2), objects(1)
    session.step(two, "suction")
    session.step(two, "suction")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"a history has 14 tokens, but .* has 10 positions"):
            session.step(two, "suction")
    assert session.steps == 2
    with pytest.raises(ValueError, match="a history has 12 tokens"):
        session.step(one, "suction")


def test_a_first_step_whose_first_view_shows_nothing_is_rejected(policy: VimaPolicy) -> None:
    hidden = find_objects(scene({"front": (), "top": (1,)}), (1,), allow_hidden=True)
    with pytest.raises(ValueError, match="its first object must be visible"):
        policy.session(prompt()).step(hidden, "suction")


@pytest.mark.parametrize("tool", ["gripper", 2, -1])
def test_an_unknown_end_effector_is_rejected(policy: VimaPolicy, tool: str | int) -> None:
    with pytest.raises(ValueError, match="must be suction, spatula, or a number from 0 to 1"):
        policy.session(prompt()).step(objects(1), tool)


def test_objects_in_other_views_are_rejected(policy: VimaPolicy) -> None:
    seen = find_objects({"wrist": scene((1,))["top"]}, (1,))
    with pytest.raises(ValueError, match="views must be front, top, not wrist"):
        policy.session(prompt()).step(seen, "suction")


def test_output_that_is_not_finite_is_rejected(policy: VimaPolicy) -> None:
    policy.network.obs_fusion_layer.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="output is not finite"):
        policy.session(prompt()).step(objects(1), "suction")


def test_a_prompt_of_text_needs_a_tokenizer(policy: VimaPolicy) -> None:
    without = VimaPolicy(policy.network)
    with pytest.raises(ValueError, match=r"no tokenizer: give its tokenizer.json to load"):
        without.session(prompt())
    assert policy.tokenizer is not None
    tokens = policy.tokenizer.tokenise(prompt())
    now = objects(1, 2)
    expected = policy.session(prompt()).step(now, 0)
    assert without.session(tokens).step(now, 0) == expected
