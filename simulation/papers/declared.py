"""The papers' studies, declared: what trains, at which size, and what differs from the paper.

FLOP: Yang et al. 2021, "FLOP: Federated Learning on Medical Datasets using Partial Networks" (KDD).
FedAvg: Liu et al. 2020, "Experiments of Federated Learning for COVID-19 Chest X-ray Images" (arXiv
2007.05592).
"""

from __future__ import annotations

from dataclasses import replace

from simulation.papers.studies import Scale, Study

# FLOP section 4.2.3 and the FedAvg paper's table I
ADAM = {"optimizer": "adam", "weight_decay": 1e-7}
# the papers name no values for SGD; these are the defaults of the framework that the FLOP paper
# builds on
SGD = {"optimizer": "sgd", "momentum": 0.5}
SGD_RATE = (
    "SGD's learning rate and momentum: 0.01 and 0.5, the defaults of the framework that the paper"
    " builds on"
)

FLOP_MODELS = ("mobilenetv2", "covidnet", "resnet50", "resnext50")
FEDAVG_MODELS = ("mobilenetv2", "covidnet", "resnet18", "resnext18")
SMALL_MODELS = ("covidnet", "mobilenetv2")

COVIDX_DIFFERS = (
    "covidx-small is not COVIDx: the same three classes and partly the same sources, but 7,884"
    " training images of another mix (39 % COVID-19; the paper: {paper}), stored at 128 x 128. In"
    " it class and source are confounded: knowing only the source gives 70 % on its test folder, so"
    " read the figures per source."
)
KVASIR_DIFFERS = (
    "hyperkvasir5-small is not Kvasir: 1,600 training images in five unequal classes (half of them"
    " polyps) instead of 6,000 in eight equal ones, stored at 128 x 128; frames of one scene stay"
    " together."
)
OPEN = (
    'the number of seeds (the paper: "different random seeds")',
    (
        "best and last round are both given, because the best of many rounds on the test images"
        " themselves flatters"
    ),
    "the global test is of the last round's models",
    "models start from random weights (the papers do not say whether theirs were pretrained)",
)
SKEW = (
    "lambda: 0.6, the paper's example",
    "25 chunks per class, as in its CIFAR-10 example; hospitals draw their chunks in turn",
)
SMALL_COVIDX = (
    "a third of the training images, at 32 pixels instead of 224, batches of 16 instead of 10,"
    " learning rate 1e-3 instead of 2e-5 (so few steps at 2e-5 learn nothing)."
)

COVIDX_SCALES = {
    "smoke": Scale("phantom-cxr:60", 28, SMALL_MODELS, 2, 1, 10, 1e-3, (0,), note="Drawn phantoms and two models only."),
    "cpu": Scale(
        "covidx-small", 32, FLOP_MODELS, 8, 1, 16, 1e-3, (0, 1), images=2628,
        note=f"8 rounds of 1 epoch instead of 100 of 3; {SMALL_COVIDX}",
    ),
    "full": Scale(
        "covidx-small", 224, FLOP_MODELS, 100, 3, 10, 2e-5, (0, 1, 2),
        note="The paper's own size; the images are enlarged from 128 pixels.",
    ),
}  # fmt: skip

KVASIR_MODELS = ("mobilenetv2", "resnet50")
KVASIR_SCALES = {
    "smoke": Scale("phantom-cxr:60", 28, ("mobilenetv2",), 2, 1, 10, 1e-3, (0,), note="Drawn phantoms and one model only."),
    "cpu": Scale(
        "hyperkvasir5-small", 32, KVASIR_MODELS, 8, 3, 16, 1e-3, (0, 1),
        note="8 rounds instead of 100, 32 pixels instead of 224, batches of 16 instead of 10, learning rate 1e-3 instead of 2e-5.",
    ),
    "full": Scale(
        "hyperkvasir5-small", 224, KVASIR_MODELS, 100, 3, 10, 2e-5, (0, 1, 2),
        note="The paper's own size; the images are enlarged from 128 pixels.",
    ),
}  # fmt: skip

COVIDX = Study(
    "covidx", "FLOP on chest X-rays, hospitals that differ", "flop", ("fedavg", "flop"), "skew:0.6", 0.3, ADAM,
    COVIDX_DIFFERS.format(paper="13,954 images, 517 of them COVID-19"),
    (*OPEN, *SKEW), COVIDX_SCALES,
)  # fmt: skip

KVASIR = Study(
    "kvasir", "FLOP on endoscopy, hospitals that differ", "flop", ("fedavg", "flop"), "skew:0.6", 0.2, ADAM, KVASIR_DIFFERS,
    (*OPEN, *SKEW), KVASIR_SCALES,
)  # fmt: skip

FASHION = Study(
    "fashion", "FLOP on Fashion-MNIST", "flop", ("fedavg", "flop"), "skew:0.6:50", 0.2, SGD, "The data set is the paper's own.",
    (
        *OPEN, SGD_RATE, "lambda: 0.6", "50 chunks per class, so that each of the 100 hospitals gets 5, as in the CIFAR-10 example",
        "local split 80/20", "the widths of the three-layer network",
    ),
    {
        "smoke": Scale("phantom-cxr:240", 28, ("cnn3",), 2, 1, 10, 0.05, (0,), 20, 3, note="Drawn phantoms, 20 hospitals."),
        "cpu": Scale(
            "fashion-mnist", 28, ("cnn3",), 20, 2, 20, 0.05, (0,), 100, 15,
            note="All hospitals and images of the paper, but 20 rounds of 2 epochs instead of 50 of 10, batches of 20 instead of 60, "
            "learning rate 0.05 instead of 0.01.",
        ),
        "full": Scale("fashion-mnist", 28, ("cnn3",), 50, 10, 60, 0.01, (0, 1, 2), 100, 15, note="The paper's own size."),
    },
)  # fmt: skip

CIFAR = Study(
    "cifar", "FLOP on CIFAR-10", "flop", ("fedavg", "flop"), "skew:0.6:25", 0.2, SGD,
    "Our copy of CIFAR-10 is JPEG-compressed (30.5 dB in the median).",
    (*OPEN, SGD_RATE, "lambda: 0.6", "local split 80/20", "VGG-11's two hidden layers have 512 units"),
    {
        "smoke": Scale("phantom-cxr:60", 28, ("vgg11",), 2, 1, 20, 0.05, (0,), 4, 2, note="Drawn phantoms, 4 hospitals."),
        "cpu": Scale(
            "cifar10", 32, ("vgg11",), 10, 1, 20, 0.05, (0,), 50, 20, images=10_000,
            note="10 rounds of 1 epoch instead of 100 of 5, a fifth of the training images, batches of 20 instead of 100, "
            "learning rate 0.05 instead of 0.01.",
        ),
        "full": Scale("cifar10", 32, ("vgg11",), 100, 5, 100, 0.01, (0, 1, 2), 50, 20, note="The paper's own size."),
    },
)  # fmt: skip

FEDAVG_COVID = Study(
    "fedavg-covid", "Federated against centralised training on chest X-rays", "fedavg", ("fedavg", "central"), "iid", 0.0, ADAM,
    COVIDX_DIFFERS.format(paper="13,703 images, 286 of them COVID-19"),
    (
        "the seeds", "how the images are divided: hospitals alike (iid), and the whole training folder trains",
        "ResNeXt: ResNet18's layout with ResNeXt's bottleneck blocks of 32 groups", OPEN[-1],
        "table III is over training and test images together: only that fits the paper's own ±",
    ),
    {
        "smoke": Scale("phantom-cxr:60", 28, SMALL_MODELS, 2, 1, 10, 1e-3, (0,), note="Drawn phantoms and two models only."),
        "cpu": Scale(
            "covidx-small", 32, FEDAVG_MODELS, 8, 1, 16, 1e-3, (0,), images=2628,
            note=f"8 rounds of 1 epoch instead of 100 of 3 (centralised: 8 epochs instead of 300); {SMALL_COVIDX}",
        ),
        "full": Scale(
            "covidx-small", 224, FEDAVG_MODELS, 100, 3, 10, 2e-5, (0,),
            note="The paper's own size; the images are enlarged from 128 pixels.",
        ),
    },
    maps=True,
)  # fmt: skip

STUDIES = {
    study.name: study
    for study in (
        COVIDX,
        replace(
            COVIDX,
            name="covidx-iid",
            title="FLOP on chest X-rays, hospitals alike",
            partition="iid",
            ours=OPEN,
        ),
        KVASIR,
        replace(
            KVASIR,
            name="kvasir-iid",
            title="FLOP on endoscopy, hospitals alike",
            partition="iid",
            ours=OPEN,
        ),
        FASHION,
        CIFAR,
        FEDAVG_COVID,
    )
}
