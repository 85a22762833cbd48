"""The FedAvg paper's tables and figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulation.papers import figures, paper
from simulation.papers.grid import Block, Grid, Picture, accuracy, by_source
from simulation.papers.paper import COLUMNS
from simulation.papers.tables import Cell, PaperTable, over_seeds, proportion


def parameters_table(name: str, grid: Grid) -> list[Block]:
    """Table I: the training's parameters, as run and as in the paper."""
    run = grid.results[0].run
    ours: dict[str, Cell] = {
        "agents": run.hospitals,
        "fraction in a round": run.cohort / run.hospitals,
        "rounds": run.rounds,
        "local epochs": run.epochs,
        "local batch size": run.batch_size,
        "learning rate": f"{run.lr:g}",
        "weight decay": f"{run.weight_decay:g}",
        "image size": run.image_size,
        "optimizer": run.optimizer,
    }
    rows = tuple((key, ours[key], value) for key, value in paper.PARAMETERS.items())
    return [PaperTable("Parameters of the training", ("parameter", "here", "paper"), rows)]


def train_test_table(name: str, grid: Grid) -> list[Block]:
    """Tables II (federated) and IV (centralised, with the ε that the paper defines in section
    III-A).
    """
    framework = "fedavg" if name == "fedavg-table2" else "central"
    rows = []
    for model in grid.models:
        found = grid.of(framework, model)
        cells = [accuracy(found, part) for part in ("global_train", "global_test")]
        epsilon = None
        if (
            framework == "central"
            and (federated := accuracy(grid.of("fedavg", model), "global_test"))
            and cells[1]
        ):
            epsilon = abs(federated.value - cells[1].value)
        known = paper.TABLES[name]
        theirs = None
        if name == "fedavg-table4":
            theirs = abs(
                paper.TABLES["fedavg-table2"]["test", model].value - known["test", model].value
            )
        over = over_seeds([one["global_test"]["accuracy"] for one in found])
        rows.append(
            (
                COLUMNS[model],
                *cells,
                over and over.spread,
                over_seeds([one["global_test"]["balanced_accuracy"] for one in found]),
                over_seeds([one["global_test"]["auroc"] for one in found]),
                known["train", model],
                known["test", model],
                *((epsilon, theirs) if framework == "central" else ()),
            )
        )
    head: tuple[str, ...] = (
        "model",
        "training set %",
        "test folder %",
        "SD over seeds",
        "balanced %",
        "AUROC %",
        "paper: training %",
        "paper: testing %",
    )
    note = (
        "± is half of the 95 % interval of a proportion, as in the paper (the normal"
        " approximation); one seed has no SD."
    )
    if framework == "central":
        head += ("ε = |V_FED − V_SUM|, points", "paper's ε")
        note += " ε compares the accuracies on the test folder. " + _seen(grid)
    title = (
        "Federated training"
        if framework == "fedavg"
        else "Centralised training, and what federating costs"
    )
    return [
        PaperTable(title, head, tuple(rows), note),
        *by_source(grid, "global_test", "test folder", (framework,)),
    ]


def class_table(name: str, grid: Grid) -> list[Block]:
    """Table III: accuracy on every class. The paper's ± fit training and test images together (e.g.
    ±5.0 % at 51 % is 386 images).
    """
    classes = grid.results[0].figures["classes"]
    rows = []
    for model in grid.models:
        found = grid.of("fedavg", model)
        total = np.sum(
            [
                np.array(one[part]["confusion"])
                for one in found
                for part in ("global_train", "global_test")
            ],
            axis=0,
        )
        test = np.sum([np.array(one["global_test"]["confusion"]) for one in found], axis=0)
        for label, class_ in enumerate(classes):
            cells = [
                proportion(int(counts[label, label]), int(counts[label].sum()), len(found))
                for counts in (total, test)
            ]
            rows.append((COLUMNS[model], class_, *cells, paper.TABLES[name].get((class_, model))))
    head = ("model", "class", "training and test images %", "test folder alone %", "paper %")
    note = "± is half of the 95 % interval of a proportion."
    return [
        PaperTable("Sensitivity of every class", head, tuple(rows), note),
        *by_source(grid, "global_test", "test folder", ("fedavg",)),
    ]


def distribution(name: str, grid: Grid) -> list[Block]:
    """Figure 2: images of every class, here and in the paper's COVIDx."""
    found = grid.results[0].figures
    train, test = (
        np.array(found["global_train"]["confusion"]).sum(axis=1),
        np.array(found["global_test"]["confusion"]).sum(axis=1),
    )
    ours = {
        f"{class_}\nhere": {"training": int(train[at]), "test": int(test[at])}
        for at, class_ in enumerate(found["classes"])
    }
    theirs = {
        f"{class_}\npaper": {"training": a, "test": b}
        for class_, (a, b) in paper.COVIDX_COUNTS.items()
    }
    rows = tuple(
        (key.replace("\n", ", "), value["training"], value["test"])
        for key, value in (ours | theirs).items()
    )
    return [
        Picture("distribution", "Images of every class", figures.bars(ours | theirs, "images")),
        PaperTable("Images of every class", ("class", "training", "test"), rows),
    ]


def convergence(name: str, grid: Grid) -> list[Block]:
    """Figure 3: training loss of the federated models."""
    panel = {COLUMNS[model]: grid.curves("fedavg", model, "train_loss") for model in grid.models}
    return [
        Picture(
            "loss",
            "Training loss of the hospitals in a round",
            figures.curves({"FedAvg": panel}, "training loss"),
        )
    ]


def global_confusions(name: str, grid: Grid) -> list[Block]:
    """Figure 4: the federated models on the test folder, and the paper's counts below."""
    classes = grid.results[0].figures["classes"]
    ours = {
        COLUMNS[model]: np.sum(
            [one["global_test"]["confusion"] for one in grid.of("fedavg", model)], axis=0
        )
        for model in grid.models
    }
    same = sorted(classes) == sorted(paper.CONFUSION_CLASSES)
    order = [
        paper.CONFUSION_CLASSES.index(class_)
        for class_ in (classes if same else paper.CONFUSION_CLASSES)
    ]
    models = sorted(
        paper.CONFUSIONS,
        key=lambda model: list(ours).index(COLUMNS[model]) if COLUMNS[model] in ours else len(ours),
    )
    theirs = {
        COLUMNS[model]: np.array(paper.CONFUSIONS[model])[np.ix_(order, order)].tolist()
        for model in models
    }
    names = [paper.CONFUSION_CLASSES[at] for at in order]
    columns = 4 if len(ours) > 2 else 2
    return [
        Picture(
            "confusion", "Here, on the test folder", figures.confusions(ours, classes, columns)
        ),
        Picture(
            "confusion-paper",
            "The paper's figure 4, drawn from its counts",
            figures.confusions(theirs, names, 4),
        ),
        *by_source(grid, "global_test", "test folder", ("fedavg",)),
    ]


def against_central(name: str, grid: Grid) -> list[Block]:
    """Figure 5: training loss, federated and centralised; a round has as many epochs in both."""
    panels = {
        COLUMNS[model]: {
            "federated": grid.curves("fedavg", model, "train_loss"),
            "centralised": grid.curves("central", model, "train_loss"),
        }
        for model in grid.models
    }
    colours = {"federated": figures.COLOURS["flop"], "centralised": figures.COLOURS["central"]}
    run = grid.results[0].run
    epochs = (
        f"round ({run.epochs} epoch{'s' * (run.epochs > 1)} each, {run.rounds * run.epochs} in all)"
    )
    drawn = figures.curves(panels, "training loss", colours, epochs)
    rows = tuple(
        (COLUMNS[model], _last(grid, "fedavg", model), _last(grid, "central", model))
        for model in grid.models
    )
    last = PaperTable(
        "Training loss in the last round", ("model", "federated", "centralised"), rows, _seen(grid)
    )
    return [Picture("loss", "Training loss, federated and centralised", drawn), last]


def _last(grid: Grid, framework: str, model: str) -> float:
    """The training loss of the last round, averaged over seeds."""
    return float(np.mean([line[-1] for line in grid.curves(framework, model, "train_loss")]))


def _seen(grid: Grid) -> str:
    """What a reader who compares the two must know."""
    return (
        f"In a round {grid.scale.cohort} of {grid.scale.hospitals} hospitals train, each on its own"
        " images; centralised training sees all."
    )


def explanations(label: str) -> Callable[[str, Grid], list[Block]]:
    """Figures 6, 7, 8: Grad-CAM++ of the last convolution for one class, federated above,
    centralised below.
    """

    def draw(name: str, grid: Grid) -> list[Block]:
        classes = grid.results[0].figures["classes"]
        wanted = classes.index(label)
        blocks: list[Block] = []
        for number in range(2):
            rows = {}
            for framework, title in (("fedavg", "federated"), ("central", "centralised")):
                panels = {}
                for model in grid.models:
                    maps = grid.first(framework, model).maps
                    at = np.flatnonzero(maps["labels"] == wanted)[number]
                    panels[COLUMNS[model]] = (
                        maps["images"][at],
                        maps["heat"][at],
                        classes[int(maps["predicted"][at])],
                    )
                rows[title] = panels
            blocks.append(
                Picture(
                    f"maps-{number + 1}",
                    f"A test image of class {label}: what speaks for {label}",
                    figures.maps(rows),
                )
            )
        sides = {
            COLUMNS[model]: int(grid.first("fedavg", model).maps["side"][0])
            for model in grid.models
        }
        note = (
            "A map of 1 x 1 cannot say where: at images this small the whole panel has one colour."
            " Larger images have larger maps."
        )
        return [
            PaperTable(
                "How fine the last convolution's maps are",
                ("model", "map"),
                tuple((name, f"{side} x {side}") for name, side in sides.items()),
                note * (min(sides.values()) == 1),
            ),
            *blocks,
        ]

    return draw
