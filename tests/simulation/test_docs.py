"""What the documents state in numbers is what the code does; their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from federation import protections
from federation.config import default_threshold
from federation.protections import sees
from federation.protections.sees import helpers
from learning import models, private_layers

ROOT = Path(__file__).parents[2]
THREATS = (ROOT / "docs" / "threat-model.md").read_text()
PAPERS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md")]


def test_how_many_may_collude() -> None:
    rows = [
        list(map(int, row))
        for row in re.findall(
            r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", THREATS, flags=re.M
        )
    ]
    assert [row[0] for row in rows] == [3, 4, 5, 6, 7, 10, 20, 100]
    for n, threshold, dropouts, colluders, honest in rows:
        assert threshold == default_threshold(n) and dropouts == n - threshold
        assert colluders == helpers(n, threshold) - 1 and honest == threshold - colluders


def test_the_table_of_what_the_coordinator_sees_is_the_codes() -> None:
    table = sees.markdown({name: protections.get(name).sees for name in protections.names()})
    assert table in THREATS, f"docs/threat-model.md needs this table:\n\n{table}"


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "resnext50", "covidnet", "vgg11", "mobilenetv2", "cnn3"]
)
def test_how_much_the_head_is_of_a_model(name: str) -> None:
    (stated,) = re.findall(rf"^\| {name} \| ([\d,]+) \| ([\d.]+) % \|$", THREATS, flags=re.M)
    with torch.device("meta"):
        network = models.build(name, channels=1, image_size=64, classes=3)
    private = set(private_layers.choose(network, default=models.spec(name).private).private)
    sizes = {one: parameter.numel() for one, parameter in network.named_parameters()}
    kept, total = sum(size for one, size in sizes.items() if one in private), sum(sizes.values())
    digits = len(stated[1].partition(".")[2])
    assert (f"{kept:,}", f"{100 * kept / total:.{digits}f}") == stated


def test_links_lead_somewhere() -> None:
    for path in PAPERS:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"


def test_every_folder_says_in_fifteen_lines_what_it_is() -> None:
    for folder in (
        "attacks",
        "coordinator",
        "crypto",
        "docs",
        "federation",
        "hospital_node",
        "learning",
        "scripts",
        "simulation",
        "tests",
    ):
        assert len((ROOT / folder / "README.md").read_text().splitlines()) <= 15, folder
