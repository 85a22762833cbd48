"""What reaches an attack, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from attacks.methods import ATTACKS, Settings, find
from attacks.observation import Case, MissingKnowledge, Observation, SideKnowledge
from tests.attacks.victims import cases, pictures

LABELS = np.array([0, 1, 2, 0])


def test_an_attack_that_lacks_what_it_needs_is_refused_and_told_what() -> None:
    [case] = cases(pictures(1), LABELS[:1])
    with pytest.raises(MissingKnowledge, match="every layer"):
        ATTACKS["dlg"].run([case])
    with pytest.raises(MissingKnowledge, match="number of classes"):
        ATTACKS["flop_naive"].run([case])
    with pytest.raises(MissingKnowledge, match="own head"):
        ATTACKS["oracle_head"].run([case])


def test_a_proxy_head_does_not_serve_the_oracle() -> None:
    [case] = cases(
        pictures(1),
        LABELS[:1],
        head={"head.weight": np.zeros((3, 588), np.float32)},
        head_source="proxy",
        classes=3,
    )
    assert "proxy_head" in case.facts() and "oracle_head" not in case.facts()


def test_ciphertext_is_no_update() -> None:
    [case] = cases(pictures(1), LABELS[:1])
    sealed = replace(
        case.observation,
        update=None,
        ciphertext=bytes(range(256)),
        ciphertext_bytes=4096,
        protection="ckks",
    )
    with pytest.raises(MissingKnowledge, match="ciphertext only"):
        ATTACKS["varpro"].run([Case(sealed, case.knowledge)])
    numbers = sealed.read_as_numbers()
    assert {k: v.shape for k, v in numbers.update.items()} == {
        k: v.shape for k, v in sealed.shared_before.items()
    }


def test_a_colluding_hospital_leaves_the_other_ones_update() -> None:
    [pair] = cases(pictures(2), LABELS[:2], summed=2)
    first, second = cases(pictures(2), LABELS[:2])
    # the same start for both: only then do they sum
    second = cases(pictures(2)[1:], LABELS[1:2])[0]
    left = pair.observation.without(second.observation.update)
    assert left.summed == 1
    for name, value in first.observation.update.items():
        np.testing.assert_allclose(left.update[name], value, atol=1e-6)
    with pytest.raises(ValueError, match="leave nobody"):
        left.without(second.observation.update)


def test_the_observation_holds_no_private_layer() -> None:
    [case] = cases(pictures(1), LABELS[:1])
    assert case.observation.private == {"head.weight", "head.bias"}
    assert not any(
        name.startswith("head.")
        for name in (*case.observation.shared_before, *case.observation.update)
    )


def test_update_and_parameters_must_name_the_same_tensors() -> None:
    with pytest.raises(ValueError, match="different tensors: b"):
        Observation("lenet-dlg", 1, 28, {"a": np.zeros(1)}, {"a": np.zeros(1), "b": np.zeros(1)})


def test_cases_of_one_batch_must_be_alike() -> None:
    one, two = cases(pictures(2), LABELS[:2])
    two = two._replace(knowledge=SideKnowledge(batch_size=2))
    with pytest.raises(ValueError, match="must agree"):
        ATTACKS["varpro"].run([one, two], Settings(steps=1))


def test_an_unknown_attack_is_answered_with_the_names() -> None:
    with pytest.raises(ValueError, match="varpro"):
        find("magic")
