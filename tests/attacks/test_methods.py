"""The attacks on victims small enough for every run of the tests; each claim can fail."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from attacks import scores
from attacks.methods import ATTACKS, Settings, closed_form, imprint, varpro
from attacks.methods._replica import Replica
from attacks.observation import Case, MissingKnowledge, Observation, SideKnowledge
from tests.attacks.victims import SIZE, cases, pictures, truth, with_update

LABELS = np.array([0, 1, 2, 1, 0, 2, 1, 0])
KNOWN = {"learning_rate": 0.1, "local_steps": 1, "classes": 3}


def psnrs(found: np.ndarray, images: np.ndarray) -> list[float]:
    real = truth(images).reshape(found.shape)
    return [s.psnr for a, b in zip(found, real, strict=True) for s in scores.score(a, b)]


def controls(images: np.ndarray) -> np.ndarray:
    return np.max(
        list(scores.constant_controls(truth(images), truth(pictures(64, seed=9)).mean(0)).values()),
        axis=0,
    )


@pytest.mark.slow
def test_varpro_sees_through_a_private_head_where_the_naive_attack_does_not() -> None:
    images = pictures(2)
    found = ATTACKS["varpro"].run(cases(images, LABELS[:2]), Settings(steps=120, restarts=1))
    assert min(psnrs(found.images, images) - controls(images)) > 10
    assert found.labels is None
    naive = ATTACKS["flop_naive"].run(
        cases(images, LABELS[:2], classes=3), Settings(steps=120, restarts=1)
    )
    assert max(psnrs(naive.images, images) - controls(images)) < 3


@pytest.mark.slow
def test_varpro_gets_nothing_from_anothers_update() -> None:
    images = pictures(2)
    one, two = cases(images, LABELS[:2])
    crossed = [with_update(one, two.observation.update), with_update(two, one.observation.update)]
    found = ATTACKS["varpro"].run(crossed, Settings(steps=60, restarts=1))
    assert max(psnrs(found.images, images) - controls(images)) < 3


@pytest.mark.slow
def test_a_masked_share_is_no_better_than_guessing() -> None:
    """One stranger's noise on the update, of the size that a mask has against it, and VarPro is at
    the control.
    """
    images = pictures(1)
    [case] = cases(images, LABELS[:1])
    coins = np.random.default_rng(0)
    size = {n: np.abs(v).max() for n, v in case.observation.update.items()}
    noisy = {
        n: v + coins.uniform(-50 * size[n], 50 * size[n], v.shape).astype(np.float32)
        for n, v in case.observation.update.items()
    }
    found = ATTACKS["varpro"].run([with_update(case, noisy)], Settings(steps=60, restarts=1))
    assert psnrs(found.images, images)[0] < controls(images)[0] + 3


def test_the_true_image_explains_the_update_and_another_does_not() -> None:
    images = pictures(2)
    copies = Replica(cases(images, LABELS[:2]), dtype=torch.float64)
    x = torch.from_numpy(truth(images))[:, None]
    right = varpro.relative_residual(copies, x, 200)
    copies.carried.clear()
    wrong = varpro.relative_residual(copies, x.flip(0), 200)
    assert right.max() < 1e-3 < 0.02 < wrong.min()


def test_push_is_the_transpose_of_pull() -> None:
    copies = Replica(cases(pictures(2), LABELS[:2]), dtype=torch.float64)
    both = varpro.Projection(copies, torch.rand(2, 1, 1, SIZE, SIZE, dtype=torch.float64))
    v = torch.randn_like(both.features)
    w = {name: torch.randn_like(value) for name, value in copies.shared.items()}
    left = sum((both.pull(v)[name] * w[name]).flatten(1).sum(1) for name in w)
    torch.testing.assert_close(left, (both.push(w) * v).flatten(1).sum(1))


def test_conjugate_gradients_solve_each_rows_own_system() -> None:
    coins = torch.Generator().manual_seed(0)
    a = torch.randn(3, 6, 6, generator=coins, dtype=torch.float64)
    a = a @ a.mT + torch.eye(6)
    b = torch.randn(3, 6, generator=coins, dtype=torch.float64)
    found = varpro.conjugate_gradients(lambda v: (a @ v[..., None])[..., 0], b, 12, None)
    torch.testing.assert_close(found, torch.linalg.solve(a, b))


def test_rows_of_lbfgs_end_one_by_one_and_each_at_its_own_minimum() -> None:
    """Quadratics of very different condition: the easy rows leave the batch first, and nothing is
    mixed up by that.
    """
    from attacks.methods._lbfgs import minimise

    class Problems:
        def __init__(self, curvature: torch.Tensor, minimum: torch.Tensor) -> None:
            self.curvature, self.minimum = curvature, minimum

        def rows(self, keep: torch.Tensor) -> "Problems":
            return Problems(self.curvature[keep], self.minimum[keep])

    coins = torch.Generator().manual_seed(0)
    curvature = torch.logspace(0, 1, 4, dtype=torch.float64)[:, None] ** torch.linspace(
        0, 3, 12, dtype=torch.float64
    )
    minimum = torch.randn(4, 12, generator=coins, dtype=torch.float64)
    counts: list[int] = []

    def function(problems: Problems, variables: dict[str, torch.Tensor]) -> torch.Tensor:
        counts.append(len(variables["a"]))
        point = torch.cat([variables["a"].flatten(1), variables["b"]], dim=1)
        return (problems.curvature * (point - problems.minimum) ** 2).sum(1)

    start = {
        "a": torch.zeros(4, 2, 3, dtype=torch.float64),
        "b": torch.zeros(4, 6, dtype=torch.float64),
    }
    found = minimise(function, Problems(curvature, minimum), start, steps=300, tolerance=1e-14)
    assert counts[0] == 4 and counts[-1] < 4
    assert found.variables["a"].shape == (4, 2, 3)
    torch.testing.assert_close(
        torch.cat([found.variables["a"].flatten(1), found.variables["b"]], dim=1),
        minimum,
        atol=1e-6,
        rtol=0,
    )
    assert (found.objective < 1e-12).all()


@pytest.mark.slow
def test_idlg_reads_the_label_and_dlg_finds_the_image() -> None:
    images = pictures(1)
    seen = cases(images, LABELS[1:2], algorithm="fedavg", **KNOWN)
    found = ATTACKS["idlg"].run(seen, Settings(steps=400, restarts=1, tolerance=1e-6))
    assert found.labels.tolist() == [[1]]
    assert psnrs(found.images, images)[0] > controls(images)[0] + 10


def test_labels_of_a_batch_are_read_off_the_head() -> None:
    labels = np.array([0, 2, 2, 2])
    seen = cases(pictures(4), labels, algorithm="fedavg", batch=4, **KNOWN)
    found = ATTACKS["inverting_gradients"].run(seen, Settings(steps=1))
    assert set(found.labels[0]) == {0, 2}


def test_closed_form_is_exact() -> None:
    """The shared head's input under FedAvg, from an update in float64."""
    images = pictures(1)
    [case] = cases(images, LABELS[:1], algorithm="fedavg")
    copies = Replica([case], dtype=torch.float64)
    x = torch.from_numpy(truth(images))[:, None]
    exact = {n: -g[0].detach().numpy() for n, g in copies.gradients(x, torch.tensor([[0]])).items()}
    features = closed_form.layer_inputs(with_update(case, exact).observation, "head")
    real = copies.features(x)[0, 0].detach().numpy()
    assert scores.psnr(((features - real) ** 2).mean()) > 80


def test_closed_form_needs_a_shared_linear_layer() -> None:
    with pytest.raises(MissingKnowledge, match="shared linear"):
        ATTACKS["closed_form"].run(cases(pictures(1), LABELS[:1]))


def test_inverting_gradients_improves_on_the_control_with_a_short_search() -> None:
    images = pictures(2)
    seen = cases(images, LABELS[:2], algorithm="fedavg", **KNOWN)
    found = ATTACKS["inverting_gradients"].run(seen, Settings(steps=150, lr=0.1))
    assert np.median(psnrs(found.images, images) - controls(images)) > 3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_unrolled_training_is_the_hospitals_training(optimizer: str) -> None:
    from attacks.methods.inverting_gradients_multistep import local_training

    images, lr = pictures(1), 0.01
    [case] = cases(images, LABELS[:1], algorithm="fedavg", epochs=3, lr=lr, optimizer=optimizer)
    known = replace(case.knowledge, learning_rate=lr, local_steps=3, optimizer=optimizer)
    copies = Replica([case._replace(knowledge=known)])
    end = local_training(
        copies, torch.from_numpy(truth(images)).float()[:, None], torch.tensor([[0]]), known
    )
    for name, value in end.items():
        update = (value - copies.shared[name])[0].detach().numpy()
        np.testing.assert_allclose(
            update, case.observation.update[name], atol=3e-4 if optimizer == "adam" else 1e-6
        )


@pytest.mark.slow
def test_the_true_head_gives_image_and_label() -> None:
    images = pictures(1)
    [case] = cases(images, LABELS[2:3])
    from attacks import victim

    start = victim.fresh_state("lenet-dlg", channels=1, image_size=SIZE, classes=3, seed=0)
    head = {name: start[name] for name in ("head.weight", "head.bias")}
    known = replace(case.knowledge, head=head, head_source="oracle", classes=3)
    found = ATTACKS["oracle_head"].run(
        [case._replace(knowledge=known)], Settings(steps=100, restarts=1)
    )
    assert found.labels.tolist() == [[2]]
    assert psnrs(found.images, images)[0] > controls(images)[0] + 5


@pytest.mark.parametrize("name", ["flop_joint", "inverting_gradients_multistep", "proxy_head"])
def test_the_other_searches_run_and_stay_in_the_box(name: str) -> None:
    algorithm = "flop" if name in ("flop_joint", "proxy_head") else "fedavg"
    head = {"head.weight": np.zeros((3, 588), np.float32), "head.bias": np.zeros(3, np.float32)}
    extra = {"head": head, "head_source": "proxy"} if name == "proxy_head" else {}
    seen = cases(pictures(4), LABELS[:4], algorithm=algorithm, batch=2, **{**KNOWN, **extra})
    seen = [case._replace(knowledge=replace(case.knowledge, optimizer="sgd")) for case in seen]
    found = ATTACKS[name].run(seen, Settings(steps=2, restarts=2))
    assert found.images.shape == (2, 2, 1, SIZE, SIZE)
    assert np.isfinite(found.images).all() and found.images.min() >= 0 and found.images.max() <= 1


def test_batch_statistics_follow_from_the_running_buffers() -> None:
    from attacks.methods.gradinversion import batch_statistics, statistics_distance

    images = pictures(4)
    seen = cases(
        images, LABELS[:4], model="resnet18", algorithm="fedavg", batch=4, mode="train", **KNOWN
    )
    statistics = batch_statistics(seen)
    copies = Replica(seen)
    real = torch.from_numpy(truth(images)).float()[None]
    assert statistics_distance(copies, real, statistics).item() < 1e-6
    assert statistics_distance(copies, 1 - real, statistics).item() > 1e-2
    found = ATTACKS["gradinversion"].run(seen, Settings(steps=2, restarts=2))
    assert found.images.shape == (1, 4, 1, SIZE, SIZE) and np.isfinite(found.images).all()


def test_membership_is_seen_without_the_head() -> None:
    images = pictures(8, seed=3)
    [case] = cases(
        images[:2], LABELS[:2], model="lenet-dlg-relu", batch=2, candidates=truth(images)
    )
    found = ATTACKS["membership"].run([case])
    assert scores.auc(found.scores[0], np.array([1, 1, 0, 0, 0, 0, 0, 0])) > 0.8


def test_label_shares_are_read_where_the_head_is_shared() -> None:
    images = pictures(8)
    labels = np.array([0, 0, 0, 0, 0, 0, 2, 2])
    shadow = (truth(pictures(16, seed=5)), np.zeros(16, np.int64))
    [case] = cases(images, labels, algorithm="fedavg", batch=8, shadow=shadow, **KNOWN)
    found = ATTACKS["label_distribution"].run([case]).shares[0]
    assert scores.total_variation_distance(found, np.array([6.0, 0, 2])) < 0.15
    with pytest.raises(MissingKnowledge):
        ATTACKS["label_distribution"].run(cases(images, labels, batch=8, shadow=shadow, **KNOWN))


def test_imprint_reads_a_whole_batch_through_a_private_head() -> None:
    images = pictures(6)
    inputs = torch.from_numpy((truth(images) - 0.5) / 0.25).float()
    torch.manual_seed(0)
    block = imprint.ImprintBlock(1, SIZE, 64, np.random.default_rng(0).normal(0, 0.5, 1000))
    net = torch.nn.Sequential(block, torch.nn.Flatten(), torch.nn.Linear(SIZE**2, 3))
    torch.nn.functional.cross_entropy(net(inputs), torch.from_numpy(LABELS[:6])).backward()
    update = {f"imprint.{n}": -p.grad.numpy() for n, p in block.named_parameters()}
    seen = Observation("block", 1, SIZE, update, update, adversary="malicious")
    found = ATTACKS["imprint"].run([Case(seen, SideKnowledge(batch_size=6))])
    got = psnrs(found.images, images)
    assert np.median(got) > 40
    honest = replace(seen, adversary="honest-but-curious")
    with pytest.raises(MissingKnowledge, match="of its own choice"):
        ATTACKS["imprint"].run([Case(honest, SideKnowledge(batch_size=6))])


def test_the_agreed_architecture_has_no_imprint_block() -> None:
    [case] = cases(pictures(1), LABELS[:1])
    seen = replace(case.observation, adversary="malicious")
    with pytest.raises(MissingKnowledge, match="agreed architecture"):
        ATTACKS["imprint"].run([Case(seen, case.knowledge)])


def test_copies_do_not_disturb_each_other() -> None:
    """A copy's gradient is the one that it has alone: the batch is an economy, not a mixture."""
    images = pictures(2)
    seen = cases(images, LABELS[:2], algorithm="fedavg", **KNOWN)
    x, labels = torch.from_numpy(truth(images))[:, None], torch.tensor([[0], [1]])
    both = Replica(seen, dtype=torch.float64).gradients(x, labels)
    second = Replica(seen[1:], dtype=torch.float64).gradients(x[1:], labels[1:])
    for name, value in second.items():
        torch.testing.assert_close(both[name][1:], value)


def test_the_same_seed_finds_the_same_image() -> None:
    seen = cases(pictures(1), LABELS[:1])
    one, two = (
        ATTACKS["varpro"].run(seen, Settings(steps=5, restarts=2, seed=4)).images for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)
