"""The organisations file: which companies there are, and how numbers are claimed for them.

Source of every field and rule: the contract, "Organisations file".
"""

from collections.abc import Hashable, Iterable
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from schemas import strict_json
from schemas.fields import Data, OrganizationCode, OrganizationName, TaxpayerId, expected
from schemas.strict_json import NotJSONError, UnfitJSONError
from schemas.vocabulary import ChannelMode

#: The limits of an automatic claim, and what one is without a word on it (the contract, "Organisations file").
SMALLEST_CLAIM, LARGEST_CLAIM, USUAL_CLAIM = 1, 5000, 1000
_USUAL_THRESHOLD = 0.2
_LONGEST_KEY_SHOWN = 40


class OrganizationsError(ValueError):
    """The file can't be used; the message names the entry, the field and what is expected there, in one line."""


class OrganizationEntry(Data):
    """One company as the file describes it."""

    code: OrganizationCode
    name: OrganizationName
    taxpayer_id: TaxpayerId
    channel_mode: Annotated[ChannelMode, Field(strict=False, description="self-use, on-behalf or joint")]
    #: The using unit's platform id. A business serial of at most 100 characters has to hold it, the direct unit's
    #: and 32 more.
    using_unit_id: Annotated[
        str,
        Field(pattern=r"^[!-~]{1,50}$", description="1 to 50 visible ASCII characters without spaces"),
    ]
    #: False: nothing is claimed by itself, requests without stock wait.
    automatic_claims: Annotated[bool, Field(description="true or false")] = True
    #: How many numbers an automatic claim asks for.
    claim_quantity: Annotated[
        int,
        Field(ge=SMALLEST_CLAIM, le=LARGEST_CLAIM, description=f"an integer, {SMALLEST_CLAIM} to {LARGEST_CLAIM}"),
    ] = USUAL_CLAIM
    #: `demand`: the rate of use sets the size of an automatic claim, and `claim_quantity` only that of the first.
    claim_sizing: Annotated[Literal["fixed", "demand"], Field(description="fixed or demand")] = "fixed"
    #: Share of the last claim at which the stock counts as low; 0 = only when empty.
    low_threshold: Annotated[
        float,
        Field(ge=0, le=1, allow_inf_nan=False, description="a share, 0 to 1"),
    ] = _USUAL_THRESHOLD


#: Members that merge keys may bring into entries, in the whole of a YAML file.
_MOST_MERGED = 500_000

#: What organisations that share one stock must agree in.
SHARED_FIELDS = ("using_unit_id", "automatic_claims", "claim_quantity", "claim_sizing", "low_threshold")


def read_organizations(text: str, *, suffix: str) -> list[OrganizationEntry]:
    """Read the file's text; `suffix` (`.yaml`, `.yml` or `.json`, in any case) says in which language it is.

    Raises `OrganizationsError` for a file that isn't a list of entries, an entry that isn't sound, a code that
    stands there twice, or two entries that share a stock and disagree.
    """
    entries = [_entry(place, value) for place, value in enumerate(_values(text, suffix.lower()), start=1)]
    check_agreement(entries)
    return entries


def check_agreement(entries: Iterable[OrganizationEntry]) -> None:
    """Refuse entries that can't stand together with `OrganizationsError`, which names both.

    Every code is there once, and those of one tax id and channel mode, which share one stock, agree in its policy.
    """
    codes: set[str] = set()
    first_of_stock: dict[tuple[str, ChannelMode], OrganizationEntry] = {}
    for entry in entries:
        if entry.code in codes:
            msg = f"code {entry.code} stands there twice"
            raise OrganizationsError(msg)
        codes.add(entry.code)
        first = first_of_stock.setdefault((entry.taxpayer_id, entry.channel_mode), entry)
        for field in SHARED_FIELDS:
            if getattr(first, field) != getattr(entry, field):
                msg = f"codes {first.code} and {entry.code} share one stock, so they must agree in {field}"
                raise OrganizationsError(msg)


def _values(text: str, suffix: str) -> list[object]:
    if suffix == ".json":
        values = _read_json(text)
    elif suffix in {".yaml", ".yml"}:
        values = _read_yaml(text)
    else:
        msg = "the name of an organisations file ends in .yaml, .yml or .json"
        raise OrganizationsError(msg)
    if not isinstance(values, list):
        msg = "an organisations file is a list of entries"
        raise OrganizationsError(msg)
    return values


def _read_json(text: str) -> object:
    try:
        return strict_json.read(strict_json.decode(text.encode(errors="surrogatepass")))
    except (NotJSONError, UnfitJSONError) as fault:
        msg = f"the organisations file can't be read as JSON: {fault}"
        raise OrganizationsError(msg) from None


class _Loader(yaml.SafeLoader):
    """YAML's plain values only, and no key twice: by itself the reader would keep the last one and say nothing."""

    #: How many members merge keys (<<) have brought so far.
    _merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        own = len(node.value)
        super().flatten_mapping(node)
        # A few lines of merges of merges would bring more members than any memory holds.
        self._merged += len(node.value) - own
        if self._merged > _MOST_MERGED:
            raise yaml.constructor.ConstructorError(None, None, "merge keys bring too much", node.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002  (the signature is PyYAML's)
        # Before the merge keys (<<) are worked in: what stands there itself may well replace what they bring.
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(written)) != len(written):
            raise yaml.constructor.ConstructorError(None, None, "the same key twice in one entry", node.start_mark)
        members: dict[Hashable, object] = super().construct_mapping(node, deep=deep)
        return members


def _read_yaml(text: str) -> object:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  (a SafeLoader)
    except yaml.MarkedYAMLError as fault:
        where = f", line {fault.problem_mark.line + 1}" if fault.problem_mark else ""
        msg = f"the organisations file can't be read as YAML{where}: {fault.problem}"
    except (yaml.YAMLError, ValueError, RecursionError):
        # Characters that YAML doesn't know, dates that no calendar has, lists in lists without end.
        msg = "the organisations file can't be read as YAML"
    raise OrganizationsError(msg)


def _entry(place: int, value: object) -> OrganizationEntry:
    if not isinstance(value, dict):
        msg = f"entry {place}: expected fields and their values"
        raise OrganizationsError(msg)
    code = value.get("code")
    name = (
        f"entry {place} (code {code[:_LONGEST_KEY_SHOWN]})"
        if isinstance(code, str) and code.isprintable()
        else f"entry {place}"
    )
    unknown = next((key for key in value if key not in OrganizationEntry.model_fields), None)
    if unknown is not None:
        # A name from the operator's own file, shown so that a slip of the pen can be found.
        msg = f"{name}: {str(unknown)[:_LONGEST_KEY_SHOWN]!r} is unknown; known are {', '.join(_FIELDS)}"
        raise OrganizationsError(msg)
    try:
        return OrganizationEntry.model_validate(value)
    except ValidationError as refusal:
        faults = refusal.errors(include_url=False, include_context=False, include_input=False)
        fields = dict.fromkeys(str(fault["loc"][0]) for fault in faults)
        words = "; ".join(_fault_in_words(field, value) for field in fields)
        msg = f"{name}: {words}"
        raise OrganizationsError(msg) from None


_FIELDS = tuple(OrganizationEntry.model_fields)


def _fault_in_words(field: str, entry: dict[str, object]) -> str:
    words = f"{field}: expected {expected(OrganizationEntry.model_fields[field])}"
    if field not in entry:
        return f"{words}, but it is missing"
    if isinstance(entry[field], int) and OrganizationEntry.model_fields[field].annotation is str:
        # YAML makes numbers of digits; a tax id or a code of digits only has to say that it is a text.
        return f"{words}, in quotes where it is digits only"
    return words
