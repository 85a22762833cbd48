"""Every table and figure of the papers, by name; several views of one study train once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from simulation.papers import fedavg_views, flop_views
from simulation.papers.grid import Block, Grid


@dataclass(frozen=True)
class View:
    name: str
    study: str
    title: str
    draw: Callable[[str, Grid], list[Block]]

    def blocks(self, grid: Grid) -> list[Block]:
        return self.draw(self.name, grid)


VIEWS = {
    view.name: view
    for view in (
        View(
            "flop-table1",
            "covidx",
            "FLOP table 1: local testing accuracy on COVIDx",
            flop_views.local_table,
        ),
        View(
            "flop-table2",
            "covidx",
            "FLOP table 2: global testing accuracy on COVIDx",
            flop_views.global_table,
        ),
        View(
            "flop-table3",
            "kvasir",
            "FLOP table 3: local testing accuracy on Kvasir",
            flop_views.local_table,
        ),
        View(
            "flop-table4",
            "kvasir",
            "FLOP table 4: global testing accuracy on Kvasir",
            flop_views.global_table,
        ),
        View(
            "flop-table5",
            "covidx-iid",
            "FLOP table 5: local testing accuracy on COVIDx, IID",
            flop_views.local_table,
        ),
        View(
            "flop-table6",
            "covidx-iid",
            "FLOP table 6: global testing accuracy on COVIDx, IID",
            flop_views.global_table,
        ),
        View(
            "flop-table7",
            "kvasir-iid",
            "FLOP table 7: local testing accuracy on Kvasir, IID",
            flop_views.local_table,
        ),
        View(
            "flop-table8",
            "kvasir-iid",
            "FLOP table 8: global testing accuracy on Kvasir, IID",
            flop_views.global_table,
        ),
        View(
            "flop-figure2",
            "covidx",
            "FLOP figure 2: local testing loss on COVIDx",
            flop_views.loss_panels,
        ),
        View(
            "flop-figure3",
            "covidx",
            "FLOP figure 3: local testing loss, all models",
            flop_views.loss_together,
        ),
        View(
            "flop-figure4",
            "covidx",
            "FLOP figure 4: confusion matrices on COVIDx",
            flop_views.local_confusions,
        ),
        View(
            "flop-figure5",
            "kvasir",
            "FLOP figure 5: local testing loss on Kvasir",
            flop_views.loss_panels,
        ),
        View(
            "flop-figure6",
            "fashion",
            "FLOP figure 6: local testing loss on Fashion-MNIST",
            flop_views.loss_panels,
        ),
        View(
            "flop-figure7",
            "cifar",
            "FLOP figure 7: local testing loss on CIFAR-10",
            flop_views.loss_panels,
        ),
        View(
            "fedavg-table1",
            "fedavg-covid",
            "FedAvg table I: parameters of the training",
            fedavg_views.parameters_table,
        ),
        View(
            "fedavg-table2",
            "fedavg-covid",
            "FedAvg table II: accuracy with federated learning",
            fedavg_views.train_test_table,
        ),
        View(
            "fedavg-table3",
            "fedavg-covid",
            "FedAvg table III: accuracy on every class",
            fedavg_views.class_table,
        ),
        View(
            "fedavg-table4",
            "fedavg-covid",
            "FedAvg table IV: accuracy without federated learning",
            fedavg_views.train_test_table,
        ),
        View(
            "fedavg-figure2",
            "fedavg-covid",
            "FedAvg figure 2: images of every class",
            fedavg_views.distribution,
        ),
        View(
            "fedavg-figure3",
            "fedavg-covid",
            "FedAvg figure 3: loss by round",
            fedavg_views.convergence,
        ),
        View(
            "fedavg-figure4",
            "fedavg-covid",
            "FedAvg figure 4: confusion matrices",
            fedavg_views.global_confusions,
        ),
        View(
            "fedavg-figure5",
            "fedavg-covid",
            "FedAvg figure 5: loss, federated and centralised",
            fedavg_views.against_central,
        ),
        View(
            "fedavg-figure6",
            "fedavg-covid",
            "FedAvg figure 6: Grad-CAM++ for COVID-19",
            fedavg_views.explanations("covid19"),
        ),
        View(
            "fedavg-figure7",
            "fedavg-covid",
            "FedAvg figure 7: Grad-CAM++ for normal",
            fedavg_views.explanations("normal"),
        ),
        View(
            "fedavg-figure8",
            "fedavg-covid",
            "FedAvg figure 8: Grad-CAM++ for pneumonia",
            fedavg_views.explanations("pneumonia"),
        ),
    )
}


def names_of(name: str) -> list[View]:
    """The views that a name on the command line means: itself, all of a study, or all. Empty where
    it is unknown.
    """
    if name in VIEWS:
        return [VIEWS[name]]
    return [view for view in VIEWS.values() if name in ("all", view.study)]
