"""The page kit: one layout for every page, pictures without a global setting, readable figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jinja2
import matplotlib
import pytest

from simulation.report import kit


def page(folder: Path, body: str, **context: object) -> str:
    (folder / "own.html").write_text(
        '{% extends "base.html" %}{% import "parts.html" as parts %}{% block content %}'
        + body
        + "{% endblock %}"
    )
    return kit.render("own.html", folder, title="A <b> title", kind="test", **context)


def test_a_page_of_another_room_gets_layout_and_style(tmp_path: Path) -> None:
    html = page(tmp_path, "{{ parts.facts(pairs) }}", pairs=[("seed", "7")])
    assert "<dt>seed</dt><dd>7</dd>" in html
    assert "A &lt;b&gt; title" in html
    assert "--ink" in html and "prefers-color-scheme: dark" in html


def test_a_missing_name_is_an_error_not_a_hole_in_the_page(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError, match="absent"):
        page(tmp_path, "{{ absent }}")


def test_numbers_of_a_table_stand_right_and_words_left(tmp_path: Path) -> None:
    html = page(
        tmp_path,
        "{{ parts.table(head, rows) }}",
        head=["m", "a %", "w"],
        rows=[["x", "91.2 ± 0.3", "ab"]],
    )
    assert '<td class="n">91.2 ± 0.3</td>' in html
    assert "<td>ab</td>" in html
    assert '<th class="n">a %</th>' in html


def test_a_drawing_changes_no_global_setting_and_repeats_its_bytes() -> None:
    before = dict(matplotlib.rcParams)
    drawn = []
    for _ in range(2):
        with kit.drawing(1.0, rows=2, columns=2, dpi=40) as one:
            one.flat[3].plot([1, 2])
        drawn.append(one.png)
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before
    assert kit.embedded(drawn[0]).startswith("data:image/png;base64,iVBOR")
    assert kit.embedded(None) == ""


def test_importing_the_kit_loads_no_pyplot() -> None:
    code = "import simulation.report.kit, sys; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (kit.percent(0.9144), "91.4 %"),
        (kit.percent(None), "–"),
        (kit.interval((0.9, 0.934)), "90.0–93.4 %"),
        (kit.readable_bytes(999), "999 B"),
        (kit.readable_bytes(1_234_567), "1.23 MB"),
        (kit.readable_bytes(5e12), "5e+03 GB"),
        (kit.readable_seconds(0.02), "20 ms"),
        (kit.readable_seconds(75.3), "75.3 s"),
        (kit.readable_seconds(600), "10 min 00 s"),
        (kit.readable_seconds(3700), "1 h 01 min"),
    ],
)
def test_figures_are_readable(text: str, value: str) -> None:
    assert text == value
