"""Pages of the documentation site that are made and not written (an mkdocs hook, see mkdocs.yml).

The README, CONTRIBUTING, SECURITY and CHANGELOG stay at the top of the repository and become pages;
`docs/python.ipynb` becomes one, with its outputs; every room gets a page of its docstrings; and the
menu lists decisions and results as they are found.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "crypto",
    "federation",
    "learning",
    "hospital_node",
    "coordinator",
    "simulation",
    "attacks",
)
TOP = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
_FENCE = re.compile(r"^```(\w+) [\w-]+$", flags=re.MULTILINE)  # a language, and a name for a test
_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)\s]+)(?=\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the menu."""
    docs = Path(config.docs_dir)
    decisions = sorted(path.name for path in docs.glob("decisions/[0-9]*.md"))
    results = sorted(
        str(path.relative_to(docs))
        for path in docs.glob("results/**/*.md")
        if path != docs / "results" / "README.md"
    )
    menu: list[Any] = []
    for entry in config.nav or []:
        (title, value), *_ = entry.items()
        if title == "Python" and not (docs / "python.ipynb").is_file():
            continue
        if title == "Decisions":
            value = ["decisions/README.md", *(f"decisions/{name}" for name in decisions)]
        elif title == "Results":
            own = ["results/README.md"] if (docs / "results" / "README.md").is_file() else []
            value = [*own, *results]
        elif title == "API":
            value = ["api/index.md", *({room: f"api/{room}.md"} for room in ROOMS)]
        menu.append({title: value})
    config.nav = menu
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    pages = {page: _moved((ROOT / name).read_text()) for name, page in TOP.items()}
    pages["api/index.md"] = _api_index()
    pages |= {f"api/{room}.md": _api(room) for room in ROOMS}
    notebook = Path(config.docs_dir) / "python.ipynb"
    if notebook.is_file():
        pages["python.md"] = _notebook(json.loads(notebook.read_text()))
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ or name a folder at the page that shows it."""
    here = Path(page.file.src_uri).parent

    def target(match: re.Match[str]) -> str:
        path, _, anchor = match[1].partition("#")
        if not path:
            return match[0]
        folder = Path(config.docs_dir) / here / path
        if folder.is_dir() and (folder / "README.md").is_file():
            path = path.rstrip("/") + "/README.md"
        up = "../" * (len(here.parts) + 1)
        if path.startswith(up) and path.removeprefix(up) in TOP:
            path = "../" * len(here.parts) + TOP[path.removeprefix(up)]
        return path + (f"#{anchor}" if anchor else "")

    return _LINK.sub(target, markdown)


def _moved(text: str) -> str:
    """Rewrite the links of a file at the top of the repository for a page in docs/."""

    def target(match: re.Match[str]) -> str:
        path, mark, anchor = match[1].partition("#")
        return TOP.get(path, path.removeprefix("docs/")) + mark + anchor

    return _LINK.sub(target, _FENCE.sub(r"```\1", text))


def _first_line(text: str) -> str:
    return text.lstrip("# ").splitlines()[0]


def _api_index() -> str:
    rows = [
        f"| [{room}]({room}.md) | {_first_line((ROOT / room / 'README.md').read_text())} |"
        for room in ROOMS
    ]
    return "\n".join(["# API", "", "| room | what it is |", "|---|---|", *rows, ""])


def _api(room: str) -> str:
    """Return the page of one room: its README, then the docstrings of its modules."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / room).rglob("*.py"))
        if path.name != "__init__.py" and not path.name.startswith("_")
    ]
    readme = (ROOT / room / "README.md").read_text()
    return "\n\n".join([readme, "## Modules", *(f"::: {module}" for module in modules)]) + "\n"


def _notebook(notebook: dict[str, Any]) -> str:
    """Return a notebook as Markdown: text, code, and what the code printed or drew."""
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code" and source:
            parts.append(f"```python\n{source}\n```")
            parts += filter(None, map(_output, cell["outputs"]))
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
