"""What `flop sim` fills in where an option is not given."""

from __future__ import annotations

from pathlib import Path

import pytest

from federation.errors import ConfigError
from simulation.run.options import Options
from simulation.run.prepare import prepare


def prepared_protection(tmp_path: Path, **options: object) -> tuple[int, int]:
    config = prepare(
        Options.of(out=tmp_path / "run", data="phantom-cxr:300", image_size=28, **options)
    ).config  # type: ignore[arg-type]
    return config.protection.bits, config.protection.ring


@pytest.mark.parametrize(
    ("options", "bits", "ring"),
    [
        ({}, 12, 16),
        ({"bits": 16}, 16, 24),
        ({"bits": 22, "hospitals": 20}, 22, 32),
        ({"hospitals": 20}, 12, 24),
        ({"ring": 32}, 16, 32),
        ({"bits": 0, "protection": "plain"}, 0, 16),
    ],
)
def test_the_ring_is_the_narrowest_that_holds_the_sum(
    tmp_path: Path, options: dict[str, object], bits: int, ring: int
) -> None:
    assert prepared_protection(tmp_path, **options) == (bits, ring)


@pytest.mark.parametrize(
    "options", [{"ring": 16, "bits": 16}, {"bits": 16, "hospitals": 20, "ring": 16}]
)
def test_a_ring_that_cannot_hold_the_sum_is_refused(
    tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=r"protection\.ring"):
        prepared_protection(tmp_path, **options)
