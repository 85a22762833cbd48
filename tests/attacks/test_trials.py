"""Trials: rounds through the product's own sessions, and what is recorded of them."""

from pathlib import Path

import numpy as np
import pytest

from attacks import recorded
from attacks.trials import play
from federation.errors import ConfigError
from simulation.run.options import Options
from tests.attacks.victims import SIZE, pictures

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 1, 2])
ROUND = Options.of(
    model="lenet-dlg",
    image_size=SIZE,
    algorithm="flop",
    protection="plain",
    bits=0,
    hospitals=3,
    rounds=1,
    batch_size=1,
    lr=0.1,
    optimizer="sgd",
    device="cpu",
)


def test_under_plain_every_hospital_is_seen_and_under_masked_only_their_sum() -> None:
    plain = play(pictures(3), LABELS, CLASSES, ROUND)
    [masked] = play(pictures(3), LABELS, CLASSES, ROUND.but(protection="masked", bits=16, ring=24))
    assert [t.observation.summed for t in plain] == [1, 1, 1] and masked.observation.summed == 3
    assert masked.truth.images.shape == (3, 1, SIZE, SIZE)
    for name, value in masked.observation.update.items():
        total = sum(t.observation.update[name] for t in plain)
        np.testing.assert_allclose(value, total, atol=3 * 0.25 / 2**14)


def test_under_ckks_there_is_ciphertext_and_nothing_else() -> None:
    trials = play(pictures(3), LABELS, CLASSES, ROUND.but(protection="ckks", bits=12))
    assert all(
        t.observation.update is None and t.observation.ciphertext_bytes > 10_000 for t in trials
    )


def test_the_head_that_the_scorer_keeps_is_the_one_that_trained() -> None:
    """With it the gradient at the true image is the update, so it is the head before the round, and
    the right hospital's.
    """
    import torch

    from attacks.methods._replica import Replica
    from attacks.observation import Case, SideKnowledge

    for trial in play(pictures(3), LABELS, CLASSES, ROUND):
        known = SideKnowledge(
            learning_rate=0.1,
            local_steps=1,
            batch_size=1,
            classes=3,
            head=trial.truth.heads[0],
            head_source="oracle",
        )
        copy = Replica([Case(trial.observation, known)])
        found = copy.gradients(
            torch.from_numpy(trial.truth.images).float()[None],
            torch.from_numpy(trial.truth.labels)[None],
            copy.head,
        )
        for name, value in found.items():
            np.testing.assert_allclose(
                value[0].detach().numpy(), copy.target[name][0].numpy(), atol=1e-5
            )


def test_a_run_without_a_recording_is_answered_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--record"):
        recorded.load(tmp_path)


@pytest.mark.slow
def test_frozen_batchnorm_leaves_its_statistics_and_training_mode_does_not() -> None:
    from attacks.victim import play_frozen

    wanted = ROUND.but(model="resnet18", hospitals=2, min_cohort=2, batch_size=2)
    images, labels = pictures(4), np.array([0, 1, 2, 0])
    for trials, moved in (
        (play_frozen(images, labels, CLASSES, wanted), False),
        (play(images, labels, CLASSES, wanted), True),
    ):
        seen = trials[0].observation
        assert len(trials) == 2 and any(np.abs(value).max() > 0 for value in seen.update.values())
        changed = any(
            not np.array_equal(seen.buffers_after[name], value)
            for name, value in seen.buffers_before.items()
        )
        assert changed == moved
