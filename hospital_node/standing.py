"""Where a hospital stands, its shared model and its group key, and how it comes to stand where the
others do before a round.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from federation import groupkey, model, protections
from federation.config import FederationConfig
from federation.effects import Applied, Effect, Remember, Send
from federation.errors import FaultyCoordinator, FaultyHospital, LocalProtocolError, Reason
from federation.groupkey import GroupKey
from federation.keys import Secrets
from federation.layout import Vector
from federation.messages import StateAnswer, StateRequest, Synchronise, Synchronised
from federation.model import SharedModel
from federation.roster import Roster
from federation.types import Digest, RunId


@dataclass
class Memory:
    """What outlives the process: the run, every run before it, the last round answered. The service
    keeps it on disk.
    """

    run: bytes = b""
    past_runs: list[bytes] = field(default_factory=list)
    answered: int = 0
    least_epoch: int = 0
    """Group keys of earlier epochs have been replaced or given up."""


class Standing:
    """Answers `Synchronise`, `StateRequest` and `StateAnswer`. Raises FaultyCoordinator or
    FaultyHospital for what cannot be.
    """

    def __init__(
        self,
        keys: Secrets,
        config: FederationConfig,
        roster: Roster,
        shared: SharedModel,
        memory: Memory,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.keys, self.config, self.roster, self.shared, self.memory, self.random = (
            keys,
            config,
            roster,
            shared,
            memory,
            random,
        )
        self.number = roster.number_named(keys.id)
        self.group: GroupKey | None = None
        self._protection = protections.get(config.protection.kind)
        self._asking: groupkey.Asking | None = None
        self._wanted: Synchronise | None = None
        """What the coordinator told this hospital to come to."""
        self._hashed: tuple[Vector, Digest] | None = None

    def begin(self, start: SharedModel) -> None:
        """A new run: the start of the model, and no key yet."""
        self.shared = SharedModel(start.layout, start.vector.copy(), start.clips.copy())
        self.group = self._asking = self._wanted = None

    def give_up_key(self) -> None:
        """Hold no key of this epoch any more, and take none of it."""
        if self.group is not None:
            self.memory.least_epoch = self.group.epoch + 1
        self.group = self._asking = None

    def serves(self, round_: int) -> GroupKey | None:
        """The key, where it is for this round."""
        group = self.group
        return (
            group
            if group is not None and group.serves(round_, self.config.protection.key_rounds)
            else None
        )

    @property
    def digest(self) -> Digest:
        """The model's. Hashing a large one takes as long as masking: once for every vector is
        enough, as a new model has a new one.
        """
        return self._digest(self.shared)

    @property
    def stand(self) -> Digest | None:
        """Where this hospital stands, as it signs it in every round; None without a key."""
        return self._stand(self.shared, self.group)

    # ---- messages --------------------------------------------------------------------

    def synchronise(self, wanted: Synchronise) -> list[Effect]:
        """Make a group key, or ask the source named for what is lacking."""
        if not self.memory.run or wanted.source >= len(self.roster):
            raise FaultyCoordinator(
                "asks to synchronise before the run, or with nobody", Reason.UNEXPECTED
            )
        if wanted.epoch < self.memory.least_epoch:
            reason = Reason.AGGREGATE if self.group is None else Reason.REPLAY
            raise FaultyCoordinator(
                "asks for a group key that has been replaced or given up", reason
            )
        if wanted.source == self.number:
            if wanted.applied > self.shared.round:
                raise FaultyCoordinator(
                    "takes this hospital for further than it is", Reason.UNEXPECTED
                )
            kept: list[Effect] = []
            if self.group is None or self.group.epoch != wanted.epoch:
                kept = [self._hold(self._make_key(wanted.epoch))]
            return [*kept, self._synchronised()]
        return self._seek(wanted)

    def grant(self, request: StateRequest) -> list[Effect]:
        """Seal the key, and the model where the asker is behind, to a hospital that signed its
        request.
        """
        if request.source != self.number or self.group is None or self.group.epoch != request.epoch:
            raise FaultyCoordinator(
                "relayed a request for a key that this hospital does not hold", Reason.UNEXPECTED
            )
        behind = request.applied < self.shared.round
        state = model.to_bytes(self.shared) if behind else b""
        return [
            Send(
                groupkey.answer(
                    RunId(self.memory.run),
                    self.roster,
                    request,
                    self.group,
                    state,
                    signing_key=self.keys.signing_key,
                    random=self.random,
                )
            )
        ]

    def accept(self, answer: StateAnswer) -> list[Effect]:
        """Take over what a peer has sealed, if it is what most hold. With `Applied`, the model is
        another one.
        """
        asking, wanted = self._asking, self._wanted
        if asking is None or wanted is None:
            raise FaultyCoordinator(
                "delivered a group key that nobody asked for", Reason.UNEXPECTED
            )
        try:  # whatever else is delivered in an answer's place, the question stays open
            key, state = groupkey.accept(
                RunId(self.memory.run), self.roster, asking, answer, self.keys.sealing_key
            )
        except FaultyHospital:
            self._asking = None
            raise
        self._asking = None
        if wanted.group_key not in (None, key.identifier):
            raise FaultyHospital(
                wanted.source,
                "sealed another group key than the one that most hold",
                Reason.CONTEXT,
            )
        effects: list[Effect] = []
        if asking.request.applied < wanted.applied:
            fresh = model.from_bytes(state, self.shared.layout)
            if (
                fresh is None
                or fresh.round != wanted.applied
                or wanted.model not in (None, self._stand(fresh, key))
            ):
                raise FaultyHospital(
                    wanted.source,
                    "sent another model than the one that most stand at",
                    Reason.MALFORMED,
                )
            self.shared = fresh
            effects.append(Applied(fresh.round, counted=False, total=None))
        return [*effects, self._hold(key), *self._seek(wanted)]

    # ---- how -------------------------------------------------------------------------

    def _seek(self, wanted: Synchronise) -> list[Effect]:
        """Ask for what is lacking: the key, or the model where this hospital is behind, or stands
        elsewhere in the same round.
        """
        current = (
            self.group is not None
            and self.group.epoch == wanted.epoch
            and wanted.group_key in (None, self.group.identifier)
        )
        elsewhere = current and wanted.model not in (None, self.stand)
        lacking = wanted.applied > self.shared.round or (
            0 < wanted.applied == self.shared.round and elsewhere
        )
        if current and not lacking:
            return [self._synchronised()]
        stands = min(self.shared.round, wanted.applied - 1) if lacking else self.shared.round
        self._wanted = wanted
        self._asking = groupkey.ask(
            RunId(self.memory.run),
            self.roster,
            me=self.number,
            source=wanted.source,
            epoch=wanted.epoch,
            applied=stands,
            signing_key=self.keys.signing_key,
            random=self.random,
        )
        return [Send(self._asking.request)]

    def _stand(self, shared: SharedModel, group: GroupKey | None) -> Digest | None:
        return None if group is None else self._protection.bind(self._digest(shared), group).model

    def _digest(self, shared: SharedModel) -> Digest:
        if self._hashed is None or self._hashed[0] is not shared.vector:
            self._hashed = shared.vector, shared.digest
        return self._hashed[1]

    def _hold(self, key: GroupKey) -> Remember:
        """From now on no earlier one, nor one that was asked for before."""
        self.group, self.memory.least_epoch = key, key.epoch
        self._asking = None
        return Remember(self.memory.run, self.memory.answered)

    def _make_key(self, epoch: int) -> GroupKey:
        return GroupKey(epoch, self.random(32), self._protection.make_key(self.config))

    def _synchronised(self) -> Send:
        if self.group is None:
            raise LocalProtocolError("synchronised without a key")
        return Send(
            Synchronised(
                epoch=self.group.epoch,
                applied=self.shared.round,
                group_key=self.group.identifier,
                model=self._protection.bind(self.digest, self.group).model,
            )
        )
