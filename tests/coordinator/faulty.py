"""One faulty hospital in a federation of five."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from crypto import signing
from federation.coding import Coding
from federation.effects import Applied
from federation.messages import (
    AdvertiseKeys,
    Message,
)
from federation.plan import Binding
from federation.protections import advertisement
from federation.records.events import (
    HospitalLost,
)
from tests.adversary import Change, Rewrite, integers
from tests.rig import Rig, config, start_model

replace = msgspec.structs.replace
FAULTY, EVERYBODY = 1, {0, 1, 2, 3, 4}


class Faulty:
    """Two rounds of five; hospital 1 is faulty in the first. `totals` is what the coordinator got
    out of each round.
    """

    def __init__(self, kind: type[Message], change: Change, **settings: Any) -> None:
        self.totals: dict[int, Any] = {}
        self.wire = Rewrite(kind, change, only=FAULTY, round_=1)
        protection = settings.pop("protection", "masked")
        self.rig = Rig(
            config(protection, 5, rounds=2, **settings), fault=self.wire, watch=self._watch
        )
        if isinstance(change, Resigned):
            change.rig = self.rig
        self.rig.play()
        assert self.wire.changed

    def _watch(self, effect: Any, run: Any) -> None:
        if isinstance(effect, Applied):
            self.totals[effect.round] = effect.total

    def blamed(self, what: type[Any] = HospitalLost) -> list[tuple[int, str, str]]:
        return [
            (self.rig.who(event), getattr(event, "code", ""), event.text)
            for event in self.rig.events(what)
        ]

    def exact(self, round_: int, survivors: set[int]) -> None:
        """This round's sum is exactly that of these hospitals."""
        clips = start_model().clips if round_ == 1 else None
        total = self.totals[round_]
        assert total.survivors == len(survivors)
        if clips is not None:
            expected = sum(integers(self.rig, who, round_, clips) for who in survivors)
            assert np.array_equal(
                total.values, expected[: Coding.of(self.rig.config, self.rig.layout).values]
            )

    def goes_on(self, survivors: set[int] = EVERYBODY) -> None:
        """The next round succeeds, and the honest hospitals end with one model."""
        assert self.rig.federation.finished is not None and 2 in self.totals
        assert self.totals[2].survivors == len(survivors)
        assert len({self.rig.sessions[who].shared.digest for who in EVERYBODY - {FAULTY}}) == 1
        assert all(self.rig.sessions[who].shared.round == 2 for who in EVERYBODY - {FAULTY})


class Resigned:
    """A change to an advertisement, which its sender signs. `Faulty` gives it its federation."""

    rig: Rig

    def __init__(self, change: Change) -> None:
        self.change = change

    def __call__(self, message: AdvertiseKeys) -> AdvertiseKeys:
        changed: AdvertiseKeys = self.change(message)
        context = self.rig.plan(1).context(Binding(changed.model, changed.group_key))
        signature = signing.sign(
            self.rig.secrets[FAULTY].signing_key,
            "advertise-keys",
            *advertisement.signed_parts(context, changed),
        )
        return replace(changed, signature=signature)
