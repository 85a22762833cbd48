"""`python -m tests.end_to_end.dying_node HOSPITAL.toml MESSAGE`: a hospital whose process is killed
where it would send MESSAGE.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from hospital_node.service import Node
from hospital_node.settings import Hospital


class DyingNode(Node):
    last = ""

    def _send(self, message: Any) -> None:
        if type(message).__name__ == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._send(message)


if __name__ == "__main__":
    node = DyingNode(Hospital(Path(sys.argv[1])))
    node.last = sys.argv[2]
    node.serve()
