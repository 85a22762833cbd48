"""Separating a summed Linear+ReLU gradient, on planted sums of which every part is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from attacks.methods import _decoder
from attacks.methods._separation import Array, count_images, separate


def planted(images: int, *, relu: bool = True, seed: int = 0) -> tuple[Array, ...]:
    """Weight, bias, inputs and cotangents of a layer of 256 units with 64 inputs and dropout."""
    draw = np.random.default_rng(seed)
    weight, bias = draw.normal(size=(256, 64)) / 8, draw.normal(size=256) / 10
    inputs = np.abs(draw.normal(size=(images, 64)))
    cotangents = draw.normal(size=(images, 256))
    if relu:
        cotangents *= inputs @ weight.T + bias > 0
        cotangents *= draw.random(cotangents.shape) < 0.5
    return weight, bias, inputs, cotangents


def errors(found: Array, truth: Array) -> Array:
    """Relative error of each true input against the found one that is matched with it."""
    distance = np.linalg.norm(found[:, None] - truth[None], axis=2) / np.linalg.norm(truth, axis=1)
    rows, columns = linear_sum_assignment(distance)
    return np.asarray(distance[rows, columns])


@pytest.mark.parametrize("images", [1, 2, 5, 8])
def test_a_planted_sum_is_taken_apart_exactly(images: int) -> None:
    weight, bias, inputs, cotangents = planted(images)
    found = separate(
        cotangents.T @ inputs,
        cotangents.sum(axis=0),
        weight,
        bias,
        noise=1e-9,
        generator=np.random.default_rng(1),
        starts=64,
    )
    assert found is not None and found.certain
    assert errors(found.inputs, inputs).max() < 1e-6


def test_a_sum_with_quantisation_noise_is_taken_apart_to_its_noise() -> None:
    weight, bias, inputs, cotangents = planted(6)
    draw = np.random.default_rng(2)
    noise = 1e-3
    found = separate(
        cotangents.T @ inputs + noise * draw.normal(size=weight.shape),
        cotangents.sum(axis=0) + noise * draw.normal(size=len(weight)),
        weight,
        bias,
        noise=noise,
        generator=np.random.default_rng(1),
        starts=64,
    )
    assert found is not None and found.certain
    assert errors(found.inputs, inputs).max() < 0.02


def test_without_a_relu_no_separation_is_certified() -> None:
    weight, bias, inputs, cotangents = planted(6, relu=False)
    found = separate(
        cotangents.T @ inputs,
        cotangents.sum(axis=0),
        weight,
        bias,
        noise=1e-9,
        generator=np.random.default_rng(1),
        starts=64,
        batches=3,
    )
    assert found is None or not found.certain


def test_the_rank_counts_the_images_of_a_sum() -> None:
    weight, _, inputs, cotangents = planted(9)
    noisy = cotangents.T @ inputs + 1e-3 * np.random.default_rng(3).normal(size=weight.shape)
    assert count_images(noisy, 1e-3) == 9


def test_a_gradient_of_zeros_holds_no_image() -> None:
    weight, bias, _, _ = planted(1)
    nothing = np.zeros_like(weight)
    draw = np.random.default_rng(0)
    assert separate(nothing, np.zeros(256), weight, bias, noise=1e-6, generator=draw) is None


def test_the_same_generator_gives_the_same_separation() -> None:
    weight, bias, inputs, cotangents = planted(4)
    first, second = (
        separate(
            cotangents.T @ inputs,
            cotangents.sum(axis=0),
            weight,
            bias,
            noise=1e-9,
            generator=np.random.default_rng(7),
            starts=64,
        )
        for _ in range(2)
    )
    assert first is not None and second is not None
    assert np.array_equal(first.inputs, second.inputs)


@pytest.mark.parametrize("count", [40, 400])
def test_the_decoder_undoes_a_linear_map_from_few_and_from_many_images(count: int) -> None:
    draw = np.random.default_rng(4)
    basis = draw.random((10, 64)) / 10
    pixels = draw.random((count, 10)) @ basis
    features = pixels @ draw.normal(size=(64, 100))
    decode = _decoder.fit(features[5:], pixels[5:], ridge=1e-9)
    assert np.abs(decode(features[:5]) - pixels[:5]).max() < 1e-3


def test_a_decoder_refuses_features_of_other_images() -> None:
    with pytest.raises(ValueError, match="3 rows of features for 2 images"):
        _decoder.fit(np.ones((3, 4)), np.ones((2, 5)))
