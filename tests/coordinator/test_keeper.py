"""The coordinator's keeper without a network: what it writes, records and says."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation import model
from federation.messages import Update
from federation.records.events import RoundDiscarded
from tests.adversary import Rewrite, put
from tests.rig import Rig, config, start_model


def forged_first_round(folder: Path, protection: str = "masked") -> Rig:
    """Two rounds; in the first the sum fits no tag, so that every hospital refuses it."""
    wire = Rewrite(Update, put(tag=bytes(8)), only=1, round_=1)
    rig = Rig(config(protection, 3, rounds=2), fault=wire, folder=folder).play()
    assert wire.changed and rig.run.completed == 1
    return rig


def test_a_discarded_round_leaves_no_trace_in_the_coordinators_model(tmp_path: Path) -> None:
    rig = forged_first_round(tmp_path)
    (discarded,) = rig.events(RoundDiscarded)
    assert discarded.round == 1
    hospitals = rig.sessions[0].shared
    assert hospitals.round == 2
    assert model.read(tmp_path / "shared.safetensors").digest == hospitals.digest
    before = model.read(tmp_path / "observations" / "round-2" / "before.safetensors")
    assert before.digest == start_model().digest


def test_after_every_round_the_coordinators_model_is_the_hospitals(tmp_path: Path) -> None:
    rig = Rig(config("masked", 3, rounds=3), folder=tmp_path).play()
    assert model.read(tmp_path / "shared.safetensors").digest == rig.sessions[0].shared.digest
    assert not (tmp_path / "shared-previous.safetensors").exists()


@pytest.mark.parametrize("protection", ["ckks", "masked+ckks"])
def test_a_coordinator_that_may_not_see_the_model_keeps_none(
    tmp_path: Path, protection: str
) -> None:
    rig = forged_first_round(tmp_path, protection)
    assert rig.keeper is not None and rig.keeper.model is None
    assert not list(tmp_path.glob("**/*.safetensors"))
