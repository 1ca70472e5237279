"""Whether the model and the database agree, row by row."""

from collections.abc import Mapping
from typing import Any

from tests.support.life.ledger import Claim, Range
from tests.support.life.model import Model
from tests.support.life.snapshot import Snapshot


def agree(model: Model, seen: Snapshot) -> None:
    """Compare everything; raises `AssertionError` that names what differs."""
    _adopt_claims(model, seen)
    _same("numbers", _numbers(model), _seen_numbers(seen))
    _same("requests", _requests(model), _seen_requests(seen))
    _same("ranges", sorted(map(_range, model.ranges)), sorted(row[:8] for row in seen.ranges))
    _same("stocks", _stocks(model, seen), {row[:3]: row[3:] for row in seen.stocks})
    _same(
        "claims",
        {each.serial: _claim(each) for each in model.claims},
        {row[2]: _seen_claim(row) for row in seen.claims},
    )


def hold(seen: Snapshot) -> None:
    """See that every invariant holds."""
    broken = {name: count for name, (_, count) in seen.invariants.items() if count}
    assert not broken, f"invariants are broken: {broken}"


def _same(what: str, expected: Any, found: Any) -> None:  # noqa: ANN401 -- rows of any table
    if expected == found:
        return
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        keys = sorted({*expected, *found}, key=str)
        lines = [
            f"{key}: expected {expected.get(key)}, found {found.get(key)}"
            for key in keys
            if expected.get(key) != found.get(key)
        ]
    else:
        lines = [f"expected {each}" for each in expected if each not in found]
        lines += [f"found {each}" for each in found if each not in expected]
    listed = "\n  ".join(lines)
    raise AssertionError(f"the model and the database differ in {what}:\n  {listed}")  # noqa: EM102, TRY003


def _adopt_claims(model: Model, seen: Snapshot) -> None:
    """Learn the ids and serials that the worker drew, in the order of the serials."""
    known = {each.serial for each in model.claims}
    for row in seen.claims:
        if row[2] in known:
            continue
        manual = row[5] == "manual"
        for claim in model.claims:
            same = tuple(claim.stock) == (row[0], row[3], row[4]) and claim.manual == manual
            if same and not claim.serial and claim.id in {"", row[1]}:
                claim.id, claim.serial = row[1], row[2]
                break


def _numbers(model: Model) -> dict[str, tuple[object, ...]]:
    return {
        each.text: (each.range.stock.taxpayer_id, each.states, each.holder, each.bound_to, each.assigned_at)
        for each in model.numbers()
        if each.states
    }


def _seen_numbers(seen: Snapshot) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for owner, number, holder, bound_to, assigned_at, step, steps, states, in_order in seen.numbers:
        chain = states if steps == list(range(1, step + 1)) and in_order else f"broken chain {steps} {states}"
        found[number] = (owner, chain, holder, bound_to, assigned_at)
    return found


def _requests(model: Model) -> dict[tuple[str, str], tuple[object, ...]]:
    waiting = sorted(
        (each for each in model.requests.values() if each.state == "waiting"), key=lambda each: each.turn or 0
    )
    turns = {id(each): place for place, each in enumerate(waiting, 1)}
    return {key: (*each.content, each.state, each.because, turns.get(id(each))) for key, each in model.requests.items()}


def _seen_requests(seen: Snapshot) -> dict[tuple[str, str], tuple[object, ...]]:
    return {row[:2]: (*row[2:8], row[8] if row[6] == "waiting" else None) for row in seen.requests}


def _range(each: Range) -> tuple[object, ...]:
    untouched = (
        0 if each.manual and each.status != "quarantined" else sum(not one.states for one in each.numbers.values())
    )
    mode = "manual" if each.manual else "automatic"
    return (*each.stock, each.first, each.last, mode, each.status, each.quantity - untouched)


def _stocks(model: Model, seen: Snapshot) -> dict[tuple[object, ...], tuple[object, ...]]:
    """Stocks that only the database has are as good as none, as long as they are new."""
    keys = {
        *map(tuple, (key for key, each in model.shelves.items() if each.level != "new")),
        *(row[:3] for row in seen.stocks),
    }
    found: dict[tuple[object, ...], tuple[object, ...]] = {}
    for key in keys:
        shelf = model.shelves.get(key)  # type: ignore[call-overload]
        state: tuple[object, ...] = ("new", 0, 0, None, None, 0)
        if shelf is not None:
            state = (shelf.level, shelf.episode, shelf.low_at, shelf.not_before, shelf.at_most, shelf.failures)
        found[key] = (*state, key[0] in model.paused)
    return found


def _claim(each: Claim) -> tuple[object, ...]:
    mode = "manual" if each.manual else "automatic"
    return (each.id, *each.stock, mode, each.quantity, each.status, None if each.is_undecided else each.reason)


def _seen_claim(row: tuple[Any, ...]) -> tuple[object, ...]:
    undecided = row[7] in {"open", "unresolved"}
    return (row[1], row[0], row[3], row[4], row[5], row[6], row[7], None if undecided else row[8])
