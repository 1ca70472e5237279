"""Make the mutants of the pure decisions: `make_mutants.py FILE...` prints one JSON object for each.

A mutant is a module with one operator, number, keyword or branch changed, as cosmic-ray changes them.
Run by the interpreter that has cosmic-ray; `run_mutants.py` runs the tests over what this prints.
"""

import difflib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from parso.tree import NodeOrLeaf

#: Changes that say nothing of the tests, each for its reason.
LEFT_OUT = re.compile(
    "BitOr|BitAnd|BitXor|LShift|RShift"  # `X | None` in types, which no import survives; no decision shifts bits
    "|(Eq|NotEq|Lt|LtE|Gt|GtE)_Is(Not)?$"  # identity for equality: the same for enums, texts and small numbers
    "|_Is_Eq$|_IsNot_NotEq$"  # equality for identity: the same for None and the members of an enum
    "|RemoveDecorator",  # a dataclass without its decorator: no import survives it either
)

#: Where a class is told what it is (frozen, slots), by a decorator or as msgspec wants it: that decides nothing.
_TELLS_THE_CLASS = re.compile(r"\s*(@|class \w+\(Struct\b)")


def mutants(path: Path) -> Iterator[dict[str, object]]:
    """Give each mutant of a module: where it is, what it changes, and the whole mutated code."""
    source = path.read_text(encoding="utf-8")
    tree = get_ast(source)
    for name in operator_names():
        if LEFT_OUT.search(name):
            continue
        operator_class = get_operator(name)
        if operator_class.arguments():
            continue
        operator = operator_class()
        places = [(node, place) for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence, (node, ((line, _), _)) in enumerate(places):
            if _TELLS_THE_CLASS.match(source.splitlines()[line - 1]) or _is_star(node):
                continue
            code = mutate_code(source, operator, occurrence)
            if code is None or code == source:
                continue
            was, becomes = _changed_lines(source, code)
            yield {
                "module": str(path),
                "operator": name.removeprefix("core/"),
                "line": line,
                "was": was,
                "becomes": becomes,
                "code": code,
            }


def _is_star(node: NodeOrLeaf) -> bool:
    """Whether it is the star of a parameter or an argument, which cosmic-ray takes for a multiplication."""
    return node.type == "operator" and node.parent.type in {"parameters", "param", "argument"}


def _changed_lines(before: str, after: str) -> tuple[str, str]:
    gone, come = [], []
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        if line.startswith("- "):
            gone.append(line[2:].strip())
        elif line.startswith("+ "):
            come.append(line[2:].strip())
    return " ".join(gone), " ".join(come)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        for mutant in mutants(Path(argument)):
            print(json.dumps(mutant))  # noqa: T201 -- what this program is for
