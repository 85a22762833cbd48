"""`python -m tests.end_to_end.dying_node HOSPITAL.toml MESSAGE`: a hospital whose process is killed
where it would send MESSAGE.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from federation.messages import KINDS
from federation.transport.link import Event, HospitalLink
from hospital_node.assemble import assemble
from hospital_node.service import node
from simulation.run.node import read_hospital


class DyingLink:
    """A link over which this process does not live to send a message of the type `last`."""

    def __init__(self, link: HospitalLink, last: str) -> None:
        self.link, self.last = link, last

    def poll(self, timeout_s: float) -> list[Event]:
        return self.link.poll(timeout_s)

    def send(self, peer: bytes, frames: Sequence[bytes | memoryview]) -> bool:
        if KINDS[int.from_bytes(frames[0][4:6], "big")].__name__ == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.link.send(peer, frames)

    def close(self, linger_s: float) -> None:
        self.link.close(linger_s)


if __name__ == "__main__":
    parts = assemble(read_hospital(Path(sys.argv[1])))
    served = node(parts)
    served.link = DyingLink(parts.link, sys.argv[2])
    served.serve()
