"""Brings a hospital to the shared model and the group key that the others hold, before a round."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from federation import groupkey, model, protections
from federation.config import FederationConfig
from federation.effects import Adopt, Effect, Remember, Send
from federation.errors import FaultyCoordinator, FaultyHospital, LocalProtocolError, Reason
from federation.groupkey import GroupKey
from federation.keys import Secrets
from federation.layout import Vector
from federation.messages import StateAnswer, StateRequest, Synchronise, Synchronised
from federation.model import SharedModel
from federation.roster import Roster
from federation.types import Digest, RunId
from hospital_node.durable import Durable


class StateSync:
    """Holds the shared model and the group key; answers Synchronise, StateRequest and StateGrant.

    Every method that takes a message returns effects, and raises FaultyCoordinator or
    FaultyHospital if an honest party would not have sent it.
    """

    def __init__(
        self,
        keys: Secrets,
        config: FederationConfig,
        roster: Roster,
        shared: SharedModel,
        durable: Durable,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.keys, self.config, self.roster = keys, config, roster
        self.shared, self.durable, self.random = shared, durable, random
        self.number = roster.number_named(keys.id)
        self.group: GroupKey | None = None
        self._protection = protections.get(config.protection.kind)
        self._asking: groupkey.Asking | None = None
        self._wanted: Synchronise | None = None
        """The model and key that the coordinator asked this hospital to fetch."""
        self._hashed: tuple[Vector, Digest] | None = None

    def begin(self, start: SharedModel) -> None:
        """Begin a new run: with the start of the model, and without a key."""
        self.shared = SharedModel(start.layout, start.vector.copy(), start.clips.copy())
        self.group = self._asking = self._wanted = None

    def give_up_key(self) -> None:
        """Drop the group key, and accept none of its epoch again."""
        if self.group is not None:
            self.durable.least_epoch = self.group.epoch + 1
        self.group = self._asking = None

    def serves(self, round_: int) -> GroupKey | None:
        """Return the group key if it is for this round, else None."""
        group = self.group
        return (
            group
            if group is not None and group.serves(round_, self.config.protection.key_rounds)
            else None
        )

    @property
    def digest(self) -> Digest:
        """The shared model's digest."""
        return self._digest(self.shared)

    @property
    def version(self) -> Digest | None:
        """The shared model's digest under the group key, as this hospital signs it in every round.

        Hospitals with the same model and key have the same version, and the coordinator, which has
        no key, cannot tell which model it is. None without a key.
        """
        return self._version_of(self.shared, self.group)

    # ---- messages --------------------------------------------------------------------

    def synchronise(self, wanted: Synchronise) -> list[Effect]:
        """Make a group key, if this hospital is the source, or ask the source."""
        if not self.durable.run or wanted.source >= len(self.roster):
            raise FaultyCoordinator(
                "asks to synchronise before the run, or with nobody", Reason.UNEXPECTED
            )
        if wanted.epoch < self.durable.least_epoch:
            reason = Reason.AGGREGATE if self.group is None else Reason.REPLAY
            raise FaultyCoordinator(
                "asks for a group key that has been replaced or given up", reason
            )
        if wanted.source == self.number:
            if wanted.applied > self.shared.round:
                raise FaultyCoordinator(
                    "asks this hospital for a later model than it has", Reason.UNEXPECTED
                )
            kept: list[Effect] = []
            if self.group is None or self.group.epoch != wanted.epoch:
                kept = [self._hold(self._make_key(wanted.epoch))]
            return [*kept, self._synchronised()]
        return self._seek(wanted)

    def grant(self, request: StateRequest) -> list[Effect]:
        """Seal the key, and the model if the asker's is older, to the hospital that asks."""
        if request.source != self.number or self.group is None or self.group.epoch != request.epoch:
            raise FaultyCoordinator(
                "relayed a request for a key that this hospital does not hold", Reason.UNEXPECTED
            )
        behind = request.applied < self.shared.round
        state = model.to_bytes(self.shared) if behind else b""
        return [
            Send(
                groupkey.answer(
                    RunId(self.durable.run),
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
        """Take over the key, and perhaps the model, that a peer has sealed.

        Returns:
            `Adopt` among the effects if the model is another one.
        """
        asking, wanted = self._asking, self._wanted
        if asking is None or wanted is None:
            raise FaultyCoordinator(
                "delivered a group key that nobody asked for", Reason.UNEXPECTED
            )
        try:  # whatever else is delivered in an answer's place, the question stays open
            key, state = groupkey.accept(
                RunId(self.durable.run), self.roster, asking, answer, self.keys.sealing_key
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
                or wanted.model not in (None, self._version_of(fresh, key))
            ):
                raise FaultyHospital(
                    wanted.source,
                    "sent another model than the one that most hospitals have",
                    Reason.MALFORMED,
                )
            self.shared = fresh
            effects.append(Adopt(fresh, counted=False))
        return [*effects, self._hold(key), *self._seek(wanted)]

    # ---- how -------------------------------------------------------------------------

    def _seek(self, wanted: Synchronise) -> list[Effect]:
        """Ask the source for what is missing.

        That is the key, or the model if this hospital's is older, or is another one of the same
        round.
        """
        current = (
            self.group is not None
            and self.group.epoch == wanted.epoch
            and wanted.group_key in (None, self.group.identifier)
        )
        differs = current and wanted.model not in (None, self.version)
        lacking = wanted.applied > self.shared.round or (
            0 < wanted.applied == self.shared.round and differs
        )
        if current and not lacking:
            return [self._synchronised()]
        applied = min(self.shared.round, wanted.applied - 1) if lacking else self.shared.round
        self._wanted = wanted
        self._asking = groupkey.ask(
            RunId(self.durable.run),
            self.roster,
            me=self.number,
            source=wanted.source,
            epoch=wanted.epoch,
            applied=applied,
            signing_key=self.keys.signing_key,
            random=self.random,
        )
        return [Send(self._asking.request)]

    def _version_of(self, shared: SharedModel, group: GroupKey | None) -> Digest | None:
        return None if group is None else self._protection.bind(self._digest(shared), group).model

    def _digest(self, shared: SharedModel) -> Digest:
        """Hash a vector once only: for a large one it takes as long as masking."""
        if self._hashed is None or self._hashed[0] is not shared.vector:
            self._hashed = shared.vector, shared.digest
        return self._hashed[1]

    def _hold(self, key: GroupKey) -> Remember:
        """Install `key`; drop older keys and the open request."""
        self.group, self.durable.least_epoch = key, key.epoch
        self._asking = None
        return Remember()

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
