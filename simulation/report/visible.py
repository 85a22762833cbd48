"""What the coordinator could see of a run, row by row: the same statements as docs/threat-model.md
makes, for one run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

YES, SUM, NO = "yes", "sum", "no"


@dataclass(frozen=True)
class Row:
    """`seen`: yes, sum (only added up over the hospitals of a round) or no."""

    what: str
    seen: str
    how: str


SENTENCE = {
    "plain": (
        "It could read every hospital's update of the shared layers. The federation was not"
        " protected against its coordinator: images can be reconstructed from updates."
    ),
    "masked": (
        "It saw, for every round, the sum of the updates of all hospitals that took part, and each"
        " of them only under a mask. It knows the shared model. A sum still says something about"
        " the patients behind it, less the more hospitals are in it."
    ),
    "ckks": (
        "It saw ciphertexts only, and not even the shared model after round 1. All hospitals hold"
        " the one key: a hospital that gave it to the coordinator would open every other hospital's"
        " updates."
    ),
    "masked+ckks": (
        "It saw ciphertexts of masked updates, and neither the sum nor the shared model after"
        " round 1."
    ),
}

_UPDATES = {
    "plain": Row("one hospital's update", YES, "as it was sent"),
    "masked": Row("one hospital's update", NO, "unless {helpers} of the other hospitals help it"),
    "ckks": Row("one hospital's update", NO, "unless a single hospital gives it the group's key"),
    "masked+ckks": Row("one hospital's update", NO, "encrypted, and masked inside the ciphertext"),
}


def helpers(cohort: int, threshold: int, min_cohort: int = 1) -> int:
    """The fewest hospitals that, helping the coordinator, read another one's masked update.

    Either they let two survivor sets be signed (2t − n), or they are all but one of the smallest
    set that is (Bonawitz et al. 2017).
    """
    return min(2 * threshold - cohort, max(threshold, min_cohort) - 1)


def rows(protection: str, algorithm: str, told: bool | None, helping: int = 0) -> list[Row]:
    """The table for one run. `told`: hospitals told the coordinator their accuracies, None where
    that is not known here; `helping`: see `helpers`, 0 where the cohort is not known.
    """
    hidden = "ckks" in protection
    summed, through = (
        (NO, "inside the ciphertexts") if hidden else (SUM, "inside the masked vector")
    )
    if protection == "plain":
        summed, through = YES, "beside the update"
    private = (
        Row("private layers", NO, "they never leave the hospital")
        if algorithm == "flop"
        else Row("private layers", NO, "there are none: fedavg shares every layer")
    )
    update = _UPDATES.get(protection, _UPDATES["plain"])
    found = [
        Row("images, file names, patients", NO, "they never leave the hospital"),
        private,
        replace(update, how=update.how.format(helpers=helping or "2t − n")),
        Row(
            "the sum of the updates",
            NO if hidden else YES,
            "encrypted" if hidden else "that is what it is there to compute",
        ),
        Row(
            "the shared model",
            NO if hidden else YES,
            "only its start" if hidden else "after every round",
        ),
        Row("numbers of images, test results as counts", summed, through),
        Row(
            "who took part, when, and for how long each trained",
            YES,
            "it has to call them, and waits on their progress",
        ),
    ]
    if told is not None:
        how = "these hospitals' policy shares it" if told else "no hospital's policy shared it"
        found.insert(-1, Row("a hospital's own test accuracy", YES if told else NO, how))
    return found
