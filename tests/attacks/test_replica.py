"""The attacker's copies: what they are built from, and what they give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attacks.methods import _replica
from attacks.methods._labels import from_head_gradient
from attacks.methods._matching import gradient_of, squared_distance
from attacks.methods._replica import Replica
from attacks.observation import Case
from tests.attacks.victims import CLASSES, SIZE, cases, pictures, with_update

LABELS = np.array([0, 1, 2, 0])


def one(**known: object) -> Case:
    [case] = cases(pictures(1), LABELS[:1], **known)
    return case


def test_the_target_is_the_gradient_behind_the_update() -> None:
    case = one(learning_rate=0.5, local_steps=4)
    target = Replica([case]).target
    for name, value in case.observation.readable.items():
        np.testing.assert_allclose(target[name][0].numpy(), -value / 2, rtol=1e-6)


def test_without_a_learning_rate_the_target_is_the_update_turned_round() -> None:
    case = one()
    target = Replica([case]).target
    for name, value in case.observation.readable.items():
        np.testing.assert_array_equal(target[name][0].numpy(), -value)


def test_a_sum_is_divided_by_its_hospitals() -> None:
    [pair] = cases(pictures(2), LABELS[:2], summed=2)
    name = next(iter(pair.observation.readable))
    target = Replica([pair]).target[name][0].numpy()
    np.testing.assert_allclose(target, -pair.observation.readable[name] / 2, rtol=1e-6)
    assert Replica([pair]).images == 2


def test_the_middle_lies_between_before_and_after() -> None:
    case = one()
    start, middle = Replica([case]), Replica([case], at="middle")
    for name, value in case.observation.readable.items():
        moved = (middle.shared[name] - start.shared[name])[0].detach().numpy()
        np.testing.assert_allclose(moved, value / 2, atol=1e-6)


def test_copies_are_ordered_by_case_and_then_by_restart() -> None:
    copies = Replica(cases(pictures(2), LABELS[:2]), restarts=3)
    assert copies.count == 6
    name = next(iter(copies.shared))
    assert torch.equal(copies.shared[name][0], copies.shared[name][2])
    assert not torch.equal(copies.shared[name][2], copies.shared[name][3])


def test_rows_take_everything_of_a_copy_with_them() -> None:
    copies = Replica(cases(pictures(2), LABELS[:2]), restarts=2)
    copies.labels = torch.arange(4)[:, None]
    copies.carried["v"] = torch.arange(4.0)
    part = copies.rows(torch.tensor([1, 3]))
    assert part.count == 2 and part.labels is not None
    assert part.labels.flatten().tolist() == [1, 3] and part.carried["v"].tolist() == [1, 3]
    for name, value in copies.target.items():
        assert torch.equal(part.target[name], value[[1, 3]])
    assert all(value.requires_grad for value in part.shared.values())
    assert copies.count == 4 and len(copies.carried["v"]) == 4


def test_without_labels_rows_have_none_either() -> None:
    copies = Replica(cases(pictures(2), LABELS[:2]))
    assert copies.rows(torch.tensor([0])).labels is None


def test_random_images_are_in_the_box_and_follow_the_generator() -> None:
    copies = Replica([one()], restarts=2)
    first, second = (copies.random_images(torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == (2, 1, 1, SIZE, SIZE) and torch.equal(first, second)
    assert first.min() >= 0 and first.max() <= 1 and not torch.equal(first[0], first[1])


def test_a_random_head_is_another_one_for_every_copy() -> None:
    copies = Replica([one()], restarts=2)
    head = copies.random_head(torch.Generator().manual_seed(0))
    assert set(head) == {"head.weight", "head.bias"}
    assert not torch.equal(head["head.weight"][0], head["head.weight"][1])


def test_features_are_what_enters_the_first_private_layer() -> None:
    copies = Replica([one()])
    assert copies.features(torch.zeros(1, 1, 1, SIZE, SIZE)).shape == (1, 1, 588)


def test_the_classes_are_those_of_the_head_else_as_declared_else_a_placeholder() -> None:
    private = one()
    assert _replica.class_count(private) == _replica.UNKNOWN_CLASSES
    assert _replica.class_count(one(classes=7)) == 7
    [shared] = cases(pictures(1), LABELS[:1], algorithm="fedavg")
    assert _replica.class_count(shared) == CLASSES


@pytest.mark.parametrize(("mode", "training"), [("train", True), ("eval", False)])
def test_only_batchnorm_follows_the_mode_of_the_hospital(mode: str, training: bool) -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout())
    _replica.set_mode(net, mode)
    assert (net[0].training, net[1].training) == (training, False)


def test_running_statistics_are_read_and_never_written() -> None:
    seen = cases(
        pictures(4), LABELS, model="resnet18", algorithm="fedavg", batch=4, mode="train", classes=3
    )
    copies = Replica(seen)
    before = {name: value.clone() for name, value in copies.buffers.items()}
    copies.logits(torch.rand(1, 4, 1, SIZE, SIZE), copies.shared)
    assert all(torch.equal(before[name], value) for name, value in copies.buffers.items())


def test_the_true_image_and_label_give_the_gradient_that_was_seen() -> None:
    images = pictures(1)
    known = {"learning_rate": 0.1, "local_steps": 1}
    [case] = cases(images, LABELS[1:2], algorithm="fedavg", **known)
    copies = Replica([case], dtype=torch.float64)
    copies.labels = torch.tensor([[1]])
    image = torch.from_numpy(images / 255.0)[None]
    found = gradient_of(copies, {"image": image})
    assert squared_distance(found, copies.target).item() < 1e-6
    copies.labels = torch.tensor([[2]])
    assert squared_distance(gradient_of(copies, {"image": image}), copies.target).item() > 0.1


def test_a_searched_label_takes_the_place_of_a_fixed_one() -> None:
    [case] = cases(pictures(1), LABELS[:1], algorithm="fedavg")
    copies = Replica([case])
    copies.labels = torch.tensor([[1]])
    image = copies.random_images(torch.Generator().manual_seed(0))
    fixed = gradient_of(copies, {"image": image})
    sure = torch.tensor([[[-50.0, 50.0, -50.0]]])
    searched = gradient_of(copies, {"image": image, "label": sure})
    for name, value in fixed.items():
        torch.testing.assert_close(searched[name], value)


def test_a_gradient_without_any_label_is_refused() -> None:
    copies = Replica([one()])
    image = copies.random_images(torch.Generator())
    with pytest.raises(ValueError, match="needs labels"):
        gradient_of(copies, {"image": image})


@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_label_of_one_image_is_the_most_negative_row(label: int) -> None:
    known = {"learning_rate": 0.1, "local_steps": 1}
    [case] = cases(pictures(1), np.array([label]), algorithm="fedavg", **known)
    assert from_head_gradient(Replica([case])).tolist() == [[label]]


def test_labels_of_a_batch_are_read_with_their_number() -> None:
    [case] = cases(pictures(4), LABELS, algorithm="fedavg", batch=4)
    rows = np.zeros((CLASSES, 588), np.float32)
    rows[0], rows[2] = 3.0, 1.0  # minus the gradient: class 0 three times, class 2 once
    planted = dict(case.observation.readable) | {"head.weight": rows}
    found = from_head_gradient(Replica([with_update(case, planted)]))
    assert sorted(found[0].tolist()) == [0, 0, 0, 2]


def test_a_head_that_is_known_is_given_to_every_copy() -> None:
    head = {"head.weight": np.ones((3, 588), np.float32), "head.bias": np.zeros(3, np.float32)}
    case = one(head=head, head_source="oracle", classes=3)
    copies = Replica([case], restarts=2)
    assert copies.head["head.weight"].shape == (2, 3, 588)
    assert Replica([case._replace(knowledge=replace(case.knowledge, head=None))]).head == {}
