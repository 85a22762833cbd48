"""Makes a hospital's learner, keeper and connection out of its files, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from federation import model
from federation.codec import Limits
from federation.errors import ConfigError
from federation.limits import from_coordinator
from federation.model import SharedModel
from federation.transport.link import CurveKeys, HospitalLink
from hospital_node import local_data
from hospital_node.keeper import Keeper, Tell
from hospital_node.learner import Learner
from hospital_node.session import Session
from hospital_node.settings import Hospital
from hospital_node.storage import Storage
from hospital_node.worker import Worker
from learning import device

Tap = Callable[[str, bytes, Sequence[Any]], None]


@dataclass
class Parts:
    """A hospital before it serves: the socket is open, and the worker waits for its first job."""

    hospital: Hospital
    keeper: Keeper[Worker]
    link: HospitalLink
    limits: Limits


def assemble(hospital: Hospital, tell: Tell = print, tap: Tap | None = None) -> Parts:
    """Read the images, build the model, open the socket.

    Args:
        tell: Is given each sentence for the operator.
        tap: Is given every message's frames on their way; for tests.

    Raises:
        ConfigError: If one of the hospital's files does not fit.
    """
    storage = Storage(hospital.out)
    start = model.read_start(hospital.start_path, hospital.config)
    learner = make_learner(hospital, start, tell)
    limits = from_coordinator(hospital.config, start.layout, len(hospital.roster))
    link = HospitalLink(
        hospital.address,
        CurveKeys(*hospital.secrets.transport_pair),
        hospital.roster.coordinator.transport_key,
        lambda peer: limits.total,
        tap,
    )
    worker = Worker(learner, storage, link.wake)
    keeper = make_keeper(hospital, start, learner, worker, storage, tell)
    return Parts(hospital, keeper, link, limits)


def make_learner(hospital: Hospital, start: SharedModel, tell: Tell) -> Learner:
    """Build the hospital's model and load its images. Raises ConfigError."""
    files, config = hospital.settings.hospital, hospital.config
    try:
        device.prepare(files.threads or None)
        where = device.choose_several(files.device)
    except ValueError as error:
        raise ConfigError(f"{hospital.path}: hospital.device: {error}") from None
    data = local_data.load(
        hospital.settings.data, config, hospital.out / "images.cache", hospital.share
    )
    for sentence in data.skipped[:20]:
        tell(f"skipped an image: {sentence}")
    if not len(data.train):
        raise ConfigError(
            f"{hospital.path}: data: no image is left to train on; lower data.test_fraction or add"
            " images"
        )
    return Learner(config, start.layout, hospital.secrets.own_secret, data, where)


def make_keeper(
    hospital: Hospital,
    start: SharedModel,
    learner: Learner,
    worker: Worker,
    storage: Storage,
    tell: Tell,
) -> Keeper[Worker]:
    """Go on from what `storage` holds, or begin anew. Raises ConfigError if it does not fit."""
    durable = storage.read_durable()
    shared = storage.read_shared(start.layout) if durable.run else None
    if durable.run:
        learner.reset(durable.run)
        private = storage.read_private()
        if private is not None:
            learner.load_private(private, str(storage.private))
    policy = hospital.settings.policy
    session = Session(
        hospital.secrets,
        hospital.config,
        hospital.roster,
        start,
        shared or SharedModel(start.layout, start.vector.copy(), start.clips.copy()),
        durable,
        policy.min_cohort,
    )
    return Keeper(
        session,
        worker,
        storage,
        share_metrics=policy.share_metrics,
        baselines=hospital.settings.hospital.baselines,
        tell=tell,
    )
