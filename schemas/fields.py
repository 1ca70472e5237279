"""The kinds of field that requests and events are made of, each with what it accepts in words.

The words are the field's `description`: they stand in the AsyncAPI document, and a refusal names them, so that whoever
sent a bad message reads the same rule in both places.
"""

import re
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from schemas.taxpayer_id import PATTERN as TAXPAYER_ID_PATTERN
from schemas.vocabulary import Environment

#: The smallest and the largest 64-bit integer: beyond them other languages, and the database, lose digits.
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1

#: The most characters of a business key, and of an organisation's code.
LONGEST_KEY = 64
#: Text without control characters: NUL can't be stored, and the others break logs and tables.
_PLAIN = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_FIRST_YEAR, _LAST_YEAR = 2000, 2099
_DATE_LENGTH = len("2000-01-01")
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)


class Data(BaseModel):
    """The `data` of one message: exactly its fields, of exactly their types, and never changed.

    Errors never quote what was given, since it may be anything.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


def expected(field: FieldInfo) -> str:
    """Give the words of a field's kind; for one that may be null they stand with the other arm of its union."""
    arms = (extra for arm in get_args(field.annotation) for extra in getattr(arm, "__metadata__", ()))
    return next(
        (said.description for said in (field, *arms) if isinstance(said, FieldInfo) and said.description),
        "another value",
    )


@lru_cache(maxsize=4096)
def read_date(text: str) -> date:
    """Read a real date of this century written YYYY-MM-DD; raises `ValueError` for any other text."""
    # fromisoformat takes other ISO forms too; a real date in exactly this one reads back the same.
    day = date.fromisoformat(text) if len(text) == _DATE_LENGTH else None
    if day is None or day.isoformat() != text or not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        msg = "not a date of this century written YYYY-MM-DD"
        raise ValueError(msg)
    return day


def _issue_date(value: object) -> date:
    if isinstance(value, str):
        return read_date(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    msg = "not a date"
    raise ValueError(msg)


def is_timestamp(text: str) -> bool:
    """Tell whether a text is an RFC 3339 date and time with its zone, and a real one."""
    try:
        _read_timestamp(text)
    except ValueError:
        return False
    return True


def _read_timestamp(text: str) -> datetime:
    if not _TIMESTAMP.fullmatch(text):
        msg = "not an RFC 3339 date and time with its zone"
        raise ValueError(msg)
    # Python keeps microseconds; more digits than those are legal and cut off.
    return datetime.fromisoformat(text.upper())


def _instant(value: object) -> datetime:
    if isinstance(value, str):
        return _read_timestamp(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    msg = "not a date and time with its zone"
    raise ValueError(msg)


_NO_CONTROL_CHARACTERS = "none of them a control character"

#: The key by which a request is the same request (the contract, "Messages").
BusinessKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=_PLAIN,
        description=f"1 to 64 characters, {_NO_CONTROL_CHARACTERS}",
    ),
]
OrganizationCode = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=_PLAIN,
        description=f"1 to 64 characters, {_NO_CONTROL_CHARACTERS}",
    ),
]
RequestedBy = Annotated[
    str | None,
    Field(max_length=128, pattern=_PLAIN, description=f"at most 128 characters, {_NO_CONTROL_CHARACTERS}"),
]
TaxpayerId = Annotated[
    str,
    Field(pattern=TAXPAYER_ID_PATTERN, description="a tax id: 15 to 20 capital letters and digits"),
]
#: The 20 digits as text; `InvoiceNumber.parse` makes a number of them.
NumberText = Annotated[str, Field(pattern=r"^[0-9]{20}$", description="an invoice number: exactly 20 digits")]
OrganizationName = Annotated[
    str,
    Field(min_length=1, max_length=200, pattern=_PLAIN, description=f"1 to 200 characters, {_NO_CONTROL_CHARACTERS}"),
]
Detail = Annotated[str, Field(description="what to know and to do, for people")]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER, description="an integer, 0 or more")]
Year = Annotated[int, Field(ge=_FIRST_YEAR, le=_LAST_YEAR, description="a year, 2000 to 2099")]
IssueDate = Annotated[
    date,
    BeforeValidator(_issue_date),
    WithJsonSchema({"type": "string", "format": "date"}),
    Field(description="a real date of the years 2000 to 2099, written YYYY-MM-DD"),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(description="an RFC 3339 date and time with its zone"),
]
#: Which world the message speaks of. Lax, because JSON brings a text and not a member.
EnvironmentField = Annotated[Environment, Field(strict=False, description="production or sandbox")]
