"""The images of trials: chosen by seed, and never compared with themselves."""

import numpy as np
import pytest

from attacks.pictures import COMPARABLE, take
from learning.data import DataError


def test_as_many_as_asked_for_are_attacked_and_the_others_are_not() -> None:
    found = take("phantom-cxr:40", 5, image_size=28)
    assert found.images.shape == (5, 1, 28, 28) and found.images.dtype == np.uint8
    assert len(found.labels) == 5 and len(found.others) == len(found.other_labels) == 35
    own = {image.tobytes() for image in found.images}
    assert not own & {image.tobytes() for image in found.others}


def test_there_are_at_most_so_many_others() -> None:
    assert len(take("phantom-cxr:300", 2, image_size=28).others) == COMPARABLE


def test_the_seed_chooses_the_images() -> None:
    def first(seed: int) -> bytes:
        return take("phantom-cxr:40", 1, image_size=28, seed=seed).images.tobytes()

    assert first(3) == first(3) != first(4)


def test_the_mean_is_of_the_others_and_in_numbers_from_0_to_1() -> None:
    found = take("phantom-cxr:20", 2, image_size=28)
    np.testing.assert_allclose(found.mean, found.others.mean(0) / 255)
    assert found.mean.min() > 0 and found.mean.max() < 1


def test_too_few_images_are_refused_with_what_is_needed() -> None:
    with pytest.raises(DataError, match="has 6 images; 4 to attack and as many to compare with"):
        take("phantom-cxr:6", 4, image_size=28)
