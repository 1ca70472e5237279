"""All invariants, in the order in which the audit judges by them."""

from db.audit.history import HISTORY_INVARIANTS
from db.audit.intents import INTENT_INVARIANTS
from db.audit.invariant import Invariant
from db.audit.numbers import NUMBER_INVARIANTS
from db.audit.ranges import RANGE_INVARIANTS
from db.audit.requests import REQUEST_INVARIANTS
from db.audit.structure import STRUCTURE_INVARIANTS

INVARIANTS: tuple[Invariant, ...] = (
    *STRUCTURE_INVARIANTS,
    *RANGE_INVARIANTS,
    *NUMBER_INVARIANTS,
    *HISTORY_INVARIANTS,
    *REQUEST_INVARIANTS,
    *INTENT_INVARIANTS,
)
