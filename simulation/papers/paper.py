"""The papers' own figures, in percent, to stand beside ours. None: the text that we read holds no
figure there.
"""

from __future__ import annotations

from simulation.papers.tables import PlusMinus

COLUMNS = {
    "covidnet": "COVID-Net",
    "mobilenetv2": "MobileNet-v2",
    "resnet50": "ResNet50",
    "resnext50": "ResNeXt",
    "resnet18": "ResNet18",
    "resnext18": "ResNeXt",
    "cnn3": "3-layer CNN",
    "vgg11": "VGG-11",
}
FRAMEWORKS = {"fedavg": "FedAvg", "flop": "FLOP", "central": "centralised"}

# Tables 1, 2 and 4 are pictures in the text of the FLOP paper that we have, and so is half of table
# 6. What it says of them in words:
_TEXT = "The paper's text, as we have it, holds no figures of this table; it says in words: "
WORDS = {
    "flop-table1": (
        _TEXT
        + "FLOP above FedAvg by 0.5 to 2 points for all four models, COVID-Net by over 2; ResNet50"
        " best."
    ),
    "flop-table2": _TEXT + "FLOP comparable to FedAvg, above it for three of the four models.",
    "flop-table4": _TEXT + "FLOP still comparable to FedAvg.",
}

_Cells = dict[tuple[str, str], PlusMinus]


def _pairs(framework: str, **values: tuple[float, float]) -> _Cells:
    return {(framework, model): PlusMinus(*value) for model, value in values.items()}


TABLES: dict[str, _Cells] = {
    "flop-table1": {},
    "flop-table2": {},
    "flop-table3": (
        _pairs("fedavg", resnet50=(88.85, 2.39), mobilenetv2=(91.08, 1.37))
        | _pairs("flop", resnet50=(95.05, 1.26), mobilenetv2=(97.44, 0.30))
    ),
    "flop-table4": {},
    "flop-table5": (
        _pairs(
            "fedavg",
            covidnet=(91.33, 0.10),
            mobilenetv2=(91.87, 2.98),
            resnet50=(94.01, 0.19),
            resnext50=(94.03, 0.71),
        )
        | _pairs(
            "flop",
            covidnet=(91.52, 0.13),
            mobilenetv2=(91.90, 0.63),
            resnet50=(94.51, 0.27),
            resnext50=(94.15, 1.06),
        )
    ),
    "flop-table6": (
        _pairs("fedavg", resnet50=(91.49, 0.29), resnext50=(90.98, 0.59))
        | _pairs("flop", resnet50=(91.45, 0.25), resnext50=(91.20, 0.81))
    ),
    "flop-table7": (
        _pairs("fedavg", resnet50=(97.82, 0.87), mobilenetv2=(98.38, 0.31))
        | _pairs("flop", resnet50=(98.00, 0.46), mobilenetv2=(98.45, 0.17))
    ),
    "flop-table8": (
        _pairs("fedavg", resnet50=(97.24, 1.07), mobilenetv2=(98.28, 0.19))
        | _pairs("flop", resnet50=(96.45, 2.64), mobilenetv2=(98.04, 0.29))
    ),
    # the FedAvg paper: (framework:part, model); its ± are 95 % intervals of a proportion, given
    # there as fractions
    "fedavg-table2": (
        _pairs(
            "train",
            covidnet=(92.40, 0.4),
            mobilenetv2=(91.16, 0.5),
            resnet18=(96.15, 0.3),
            resnext18=(94.66, 0.4),
        )
        | _pairs(
            "test",
            covidnet=(89.17, 1.5),
            mobilenetv2=(86.83, 1.7),
            resnet18=(91.26, 1.4),
            resnext18=(90.37, 1.5),
        )
    ),
    "fedavg-table3": (
        _pairs(
            "normal",
            covidnet=(96.47, 0.4),
            mobilenetv2=(94.87, 0.4),
            resnet18=(98.16, 0.3),
            resnext18=(96.18, 0.4),
        )
        | _pairs(
            "pneumonia",
            covidnet=(88.24, 0.9),
            mobilenetv2=(87.20, 0.9),
            resnet18=(93.91, 0.6),
            resnext18=(92.66, 0.7),
        )
        | _pairs(
            "covid19",
            covidnet=(51.04, 5.0),
            mobilenetv2=(50.26, 5.0),
            resnet18=(66.32, 4.7),
            resnext18=(73.58, 4.4),
        )
    ),
    "fedavg-table4": (
        _pairs(
            "train",
            covidnet=(94.50, 0.4),
            mobilenetv2=(94.10, 0.4),
            resnet18=(98.06, 0.2),
            resnext18=(97.66, 0.3),
        )
        | _pairs(
            "test",
            covidnet=(90.06, 1.5),
            mobilenetv2=(88.98, 1.5),
            resnet18=(91.07, 1.4),
            resnext18=(91.26, 1.4),
        )
    ),
}

# table I of the FedAvg paper
PARAMETERS = {
    "agents": "5",
    "fraction in a round": "0.4",
    "rounds": "100",
    "local epochs": "3",
    "local batch size": "10",
    "learning rate": "2e-05",
    "weight decay": "1e-07",
    "image size": "224",
    "optimizer": "adam",
}

# figure 2 of the FedAvg paper: its bars, training and test images of each class
COVIDX_COUNTS = {"normal": (7966, 885), "pneumonia": (5451, 594), "covid19": (286, 100)}

# figure 4 of the FedAvg paper: counts of the test set, rows pneumonia, normal, covid19 as truth,
# columns likewise
CONFUSION_CLASSES = ("pneumonia", "normal", "covid19")
CONFUSIONS = {
    "covidnet": [[531, 63, 0], [31, 854, 0], [47, 30, 23]],
    "mobilenetv2": [[555, 32, 7], [99, 777, 9], [49, 12, 39]],
    "resnet18": [[555, 39, 0], [40, 845, 0], [44, 15, 41]],
    "resnext18": [[564, 24, 6], [70, 805, 10], [34, 8, 58]],
}
