"""`flop bench` at smoke size: every command prints the figures that it promises. Sizes and
exactness are checked, times are not.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from federation.errors import ConfigError
from simulation.bench import masking
from simulation.bench import round as whole_round
from simulation.bench.command import bench_app


def bench(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(bench_app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures: dict[str, Any] = json.loads(result.stdout)
    return figures


@pytest.mark.parametrize(("ring", "bytes_each"), [(16, 2), (24, 3), (32, 4)])
def test_masking_has_every_figure_and_is_exact(ring: int, bytes_each: int) -> None:
    figures = bench("masking", "--params", "1e5", "--cohort", "5", "--ring", str(ring))
    times = ("keystream", "protect", "bare_add", "sum", "unmask")
    assert all(figures[f"{what}_ns_per_parameter"] > 0 for what in times)
    # one dropout: the survivors' four self masks, its four pairwise masks
    assert figures["unmask_streams"] == 8
    assert bytes_each <= figures["upload_bytes_per_parameter"] < bytes_each * 1.01
    assert figures["exact"] is True


def test_a_16_bit_ring_uploads_half_of_float32_with_all_headers() -> None:
    assert (
        bench("masking", "--params", "1e6", "--ring", "16")["ratios"]["upload_to_float32"] <= 0.51
    )


def test_the_coordinators_memory_is_flat_in_the_cohort() -> None:
    peaks = [masking.run(2e5, cohort, 32)["coordinator_peak_vectors"] for cohort in (5, 50)]
    assert max(peaks) <= 4 and abs(peaks[0] - peaks[1]) < 0.1


def test_the_exactness_of_masking_is_measured_and_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One mask too few taken out, and the figure says so."""
    left = masking._left_after_dropout
    monkeypatch.setattr(masking, "_left_after_dropout", lambda *given: left(*given)[1:])
    assert masking.run(1e4, 3, 32)["exact"] is False


def test_ckks_has_every_figure_three_times() -> None:
    figures = bench("ckks", "--params", "5e4", "--cohort", "3")
    keys = ["encrypt_ns_per_parameter", "add_ns_per_parameter", "decrypt_ns_per_parameter"]
    keys += ["upload_bytes_per_parameter", "download_bytes_per_parameter", "exact"]
    for side in (figures, figures["common"], figures["masked+ckks"]):
        assert set(keys) <= set(side)
    assert figures["exact"] is figures["masked+ckks"]["exact"] is True
    assert figures["common"]["exact"] is False
    assert figures["ratios"]["masked_upload_to_ckks"] == 1.0
    assert (
        figures["common"]["upload_bytes_per_parameter"] > 10 * figures["upload_bytes_per_parameter"]
    )


@pytest.mark.parametrize("protection", ["masked", "ckks", "masked+ckks"])
def test_a_round_ends_where_the_plain_one_ends(protection: str) -> None:
    figures = bench("round", "--model", "lenet-dlg", "--cohort", "3", "--protection", protection)
    assert figures["exact"] is True
    assert figures["seconds"] > 0 and figures["plain"]["seconds"] > 0
    assert {"ratio", "seconds_beyond_plain", "seconds_of", "upload_bytes", "download_bytes"} <= set(
        figures
    )
    assert set(figures["peak_extra_bytes"]) == {"hospital", "coordinator"}


def test_a_round_without_a_protection_or_of_no_model_is_refused_with_a_sentence() -> None:
    with pytest.raises(ConfigError, match="--protection plain"):
        whole_round.run("lenet-dlg", 3, "plain")
    with pytest.raises(ConfigError, match="--model nothing"):
        whole_round.run("nothing", 3, "masked")


def test_training_names_what_it_measured() -> None:
    figures = bench(
        "training", "--model", "cnn3", "--image-size", "28", "--examples", "32", "--device", "cpu"
    )
    assert figures["model"] == "cnn3" and figures["examples"] == 32 and figures["ratio"] > 0


def test_without_json_the_same_figures_are_a_table() -> None:
    result = CliRunner().invoke(bench_app, ["masking", "--params", "1e4", "--cohort", "3"])
    assert (
        result.exit_code == 0
        and "keystream_ns_per_parameter" in result.stdout
        and "exact" in result.stdout
    )
