"""From a round through the product's own sessions to a row of the matrix."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attacks import cells, matrix, recorded, report
from attacks.cells import Cell
from attacks.trials import play
from federation.errors import ConfigError
from simulation.run.options import Options
from tests.attacks.victims import SIZE, pictures

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 1, 2])
ROUND = Options.of(
    model="lenet-dlg", image_size=SIZE, algorithm="flop", protection="plain", bits=0, hospitals=3, rounds=1, batch_size=1,
    lr=0.1, optimizer="sgd", device="cpu",
)  # fmt: skip
QUICK = Cell(image_size=SIZE, images=2, steps=2, restarts=1)


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


def test_a_cell_gives_a_row_with_every_column_and_is_not_run_twice(tmp_path: Path) -> None:
    todo = [QUICK, replace(QUICK, attack="dlg")]
    rows = matrix.run_all(todo, tmp_path, jobs=1)
    assert set(matrix.COLUMNS) <= set(rows[0])
    assert (
        rows[0]["psnr_median"] is not None
        and rows[0]["control_psnr"] is not None
        and rows[0]["label_accuracy"] is None
    )
    assert "every layer" in rows[1]["note"] and rows[1]["psnr_median"] is None
    path = tmp_path / "cells" / f"{QUICK.key}.json"
    path.write_text(path.read_text().replace('"note": ""', '"note": "kept"'))
    assert matrix.run_all(todo, tmp_path, jobs=1)[0]["note"] == "kept"
    page = report.write(tmp_path, todo, rows, [], "A test.").read_text()
    assert "the mean image of comparable data" in page and "recognisable" in page
    assert "Cannot be tried" in page and (tmp_path / "pictures" / f"{QUICK.key}.png").exists()
    assert (tmp_path / "cells.csv").read_text().splitlines()[0] == ",".join(matrix.COLUMNS)


@pytest.mark.parametrize(
    "cell",
    [
        replace(QUICK, protection="masked", cohort=2, adversary=cells.COLLUDING),
        replace(QUICK, protection="ckks", cohort=2),
        replace(QUICK, attack="imprint", adversary=cells.UNCHECKED),
        replace(QUICK, attack="membership", batch=2),
        replace(QUICK, attack="label_distribution", algorithm="fedavg", cut=0),
        replace(QUICK, attack="proxy_head", adversary=cells.COLLUDING, state=1),
        replace(QUICK, noise=0.1, cut=2),
        replace(
            QUICK,
            model="resnet18",
            batch=2,
            frozen=True,
            attack="inverting_gradients",
            algorithm="fedavg",
            cut=0,
            steps=1,
        ),
    ],
    ids=lambda cell: f"{cell.attack}-{cell.protection}",
)
def test_every_kind_of_cell_gives_a_row(cell: Cell) -> None:
    row, _ = matrix.run(cell)
    assert row["note"] == "" or cell.attack in ("membership", "label_distribution")
    assert (row["dp_epsilon"] is None) == (cell.noise is None)
    assert report.sentence(row).endswith(".") and report.verdict(row) in (
        "leaks",
        "partly",
        "nothing",
        "holds",
        "n/a",
    )


def test_one_colluder_of_two_leaves_the_other_hospitals_own_update() -> None:
    from attacks.pictures import take

    cell = replace(QUICK, protection="masked", cohort=2, adversary=cells.COLLUDING)
    shown = take(cell.dataset, matrix.enough(cell), image_size=SIZE)
    trials, _ = matrix.prepare(cell, shown)
    alone, _ = matrix.prepare(
        replace(cell, protection="plain-12bit", adversary=cells.CURIOUS), shown
    )
    seen, own = (
        trials[0].observation,
        next(t for t in alone if np.array_equal(t.truth.images, trials[0].truth.images)),
    )
    assert seen.summed == 1
    for name, value in own.observation.update.items():
        np.testing.assert_allclose(seen.update[name], value, atol=4 * 0.25 / 2**11)


def test_only_a_protection_is_said_to_hold_where_an_attack_fails() -> None:
    missed = {
        "psnr_median": 9.0,
        "success_rate": 0.0,
        "identifiability": 0.0,
        "control_psnr": 15.0,
        "note": "",
    }
    assert report.verdict(missed | {"protection": "plain"}) == "nothing"
    assert report.verdict(missed | {"protection": "masked"}) == "holds"
    apart = missed | {"protection": "plain", "identifiability": 0.5}
    assert report.verdict(apart) == "partly" and "50 % of them which one" in report.sentence(apart)


def test_noise_follows_a_clip_that_was_declared_and_not_the_update() -> None:
    """With a huge update the noise is the same as with a small one, and what is left of the update
    has the clip's norm.
    """
    from attacks.observation import Observation
    from attacks.trials import Trial

    cell = replace(QUICK, noise=1e-6)
    for size in (100.0, 1e4):
        update = {"a": np.full(64, size, np.float32)}
        [noisy] = matrix._noisy(
            [Trial(Observation("lenet-dlg", 1, SIZE, update, update), None)], cell
        )
        assert np.linalg.norm(noisy.observation.update["a"]) == pytest.approx(
            cells.DP_CLIP, rel=1e-4
        )
    small = {"a": np.full(10_000, 1e-9, np.float32)}
    [noisy] = matrix._noisy(
        [Trial(Observation("lenet-dlg", 1, SIZE, small, small), None)], replace(cell, noise=0.5)
    )
    assert noisy.observation.update["a"].std() == pytest.approx(0.5 * cells.DP_CLIP, rel=0.05)


def test_frozen_batchnorm_leaves_its_statistics_and_training_mode_does_not() -> None:
    from attacks.trials import play_frozen

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


def test_epsilon_falls_with_noise_and_grows_with_rounds() -> None:
    assert matrix.epsilon(2.0, 1) < matrix.epsilon(1.0, 1) < matrix.epsilon(1.0, 10)


def test_the_default_matrix_has_no_cell_twice_and_begins_with_the_base() -> None:
    found = cells.default(QUICK)
    assert found[0] == QUICK and len({cell.key for cell in found}) == len(found)
