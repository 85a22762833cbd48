"""A colluding hospital's head in place of the private one: heads trained on the same classes may be
close enough.
"""

from __future__ import annotations

from attacks.methods._attack import Attack
from attacks.methods.oracle_head import reconstruct

ATTACK = Attack(
    "proxy_head",
    "baseline",
    frozenset({"update", "batch_size", "classes", "proxy_head"}),
    reconstruct,
)
