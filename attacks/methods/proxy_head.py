"""A colluding hospital's head in place of the private one: trained on the same classes, it may be
close enough.
"""

from __future__ import annotations

from attacks.methods._answers import Reconstruction
from attacks.methods._attack import Attack
from attacks.methods.oracle_head import DEFAULTS, reconstruct
from attacks.observation import COLLUDING

ATTACK = Attack(
    "proxy_head",
    "with a colluding hospital's head",
    "baseline",
    frozenset({"update", "batch_size", "classes", "proxy_head"}),
    Reconstruction,
    reconstruct,
    DEFAULTS,
    cells=({"adversary": COLLUDING}, {"adversary": COLLUDING, "state": 10}),
)
