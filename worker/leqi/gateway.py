"""The channel's listing gateway: which ranges were claimed, by us or by anybody.

LeQi itself can't list. A vendor's gateway may: `GET {base}/channel/ranges?taxpayer_id=&page=`
(contract, "The fake authority"). Pages count from 1; a page is an array of items, or an object
with `items`.
"""

import ssl
import time
from collections.abc import Iterator
from typing import Final

import httpx
from pydantic_core import from_json

from worker.leqi.port import ListedRange, ListingError
from worker.leqi.transport import (
    MEBIBYTE,
    BoundedHttp,
    Fetched,
    FetchError,
    Peer,
    TimeLimits,
    address,
)

PATH: Final = "/channel/ranges"
_MOST_PAGES: Final = 1000
_MOST_RANGES: Final = 100_000
_LARGEST_PAGE: Final = 8 * MEBIBYTE
_HTTP_OK: Final = 200

_NUMBER_LENGTH: Final = 20
_PREFIX_LENGTH: Final = 6
_LONGEST_COUNT: Final = 14  # digits: no more numbers than a sequence has
_LONGEST_TEXT: Final = 100
_FAULTS_SHOWN: Final = 5


class ChannelGateway:
    """Lists a taxpayer's ranges page by page; may be shared between threads."""

    def __init__(
        self,
        base_url: str,
        *,
        limits: TimeLimits | None = None,
        seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare without connecting; `limits` are those of one page, `seconds` of a listing.

        Raises `ValueError` if `base_url` is no address.
        """
        try:
            address(base_url, PATH)
        except ValueError as error:
            message = f"FUMA_CHANNEL_GATEWAY_URL: {error}"
            raise ValueError(message) from None
        self._base_url = base_url
        self._seconds = seconds
        self._http = BoundedHttp(
            Peer(name="the channel gateway", setting="FUMA_CHANNEL_GATEWAY_URL"),
            limits=limits,
            largest=_LARGEST_PAGE,
            tls=tls,
            transport=transport,
        )

    def ranges(self, taxpayer_id: str) -> list[ListedRange]:
        """Return every range of the taxpayer, each once, in the gateway's order.

        Reads until a page brings nothing new, or says that it is the last.
        Raises `ListingError`: also for a single item that can't be read, as a listing with a
        hole would be taken for the whole.
        """
        end = time.monotonic() + self._seconds
        listed: dict[tuple[object, ...], ListedRange] = {}
        for page in range(1, _MOST_PAGES + 1):
            content = self._page(taxpayer_id, page)
            known = len(listed)
            for found in _read_items(_items(content, page), page, taxpayer_id):
                listed.setdefault(_identity(found), found)
            if len(listed) == known or _is_last(content, page):
                return list(listed.values())
            if len(listed) > _MOST_RANGES:
                message = f"the channel gateway lists more than {_MOST_RANGES} ranges"
                raise ListingError(message)
            if time.monotonic() > end:
                message = f"the channel gateway's listing took longer than {self._seconds:g} s"
                raise ListingError(message)
        message = f"the channel gateway's listing doesn't end after {_MOST_PAGES} pages"
        raise ListingError(message)

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._http.close()

    def _page(self, taxpayer_id: str, page: int) -> object:
        """Return one page's JSON. Raises `ListingError`."""
        try:
            fetched = self._http.get(
                self._base_url,
                PATH,
                {"taxpayer_id": taxpayer_id, "page": str(page)},
            )
        except FetchError as error:
            raise ListingError(str(error)) from None
        return _parsed(fetched, page)


def _identity(listed: ListedRange) -> tuple[object, ...]:
    """Return what stays the same of a range while numbers of it are used.

    It may come twice: where a new range moved it to the next page meanwhile, and from a gateway
    that answers every page with the same.
    """
    return listed.first_number, listed.last_number, listed.quantity, listed.business_serial


def _parsed(fetched: Fetched, page: int) -> object:
    if fetched.status != _HTTP_OK:
        message = f"the channel gateway answered page {page} with HTTP {fetched.status}"
        raise ListingError(message)
    try:
        parsed: object = from_json(
            fetched.content.removeprefix(b"\xef\xbb\xbf"),
            allow_inf_nan=False,
        )
    except ValueError:
        message = f"page {page} of the channel gateway's listing isn't JSON"
        raise ListingError(message) from None
    return parsed


def _items(content: object, page: int) -> list[object]:
    items = content.get("items") if isinstance(content, dict) else content
    if not isinstance(items, list):
        message = f"page {page} of the channel gateway's listing has no list of items"
        raise ListingError(message)
    return items


def _is_last(content: object, page: int) -> bool:
    """Tell whether the page says so itself, by `pages` or by an empty `next_page`."""
    if not isinstance(content, dict):
        return False
    pages = content.get("pages")
    if isinstance(pages, int) and not isinstance(pages, bool) and 0 < pages <= page:
        return True
    return "next_page" in content and content["next_page"] is None


def _read_items(items: list[object], page: int, taxpayer_id: str) -> list[ListedRange]:
    """Return the items as ranges. Raises `ListingError` that names every one that isn't."""
    found: list[ListedRange] = []
    faults: list[str] = []
    for position, item in enumerate(items, start=1):
        try:
            found.append(_read_item(item, taxpayer_id))
        except _BadItemError as fault:
            faults.append(f"item {position}: {fault}")
    if faults:
        shown = "; ".join(faults[:_FAULTS_SHOWN])
        more = f"; {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        message = f"page {page} of the channel gateway's listing can't be read: {shown}{more}"
        raise ListingError(message)
    return found


class _BadItemError(Exception):
    """An item isn't a range of the taxpayer; the text names the field."""


def _read_item(item: object, taxpayer_id: str) -> ListedRange:
    if not isinstance(item, dict):
        message = "not an object"
        raise _BadItemError(message)
    listed = ListedRange(
        first_number=_number(item, "first_number"),
        last_number=_number(item, "last_number"),
        quantity=_count(item, "quantity"),
        unused=_count(item, "unused"),
        claimed_at=_optional_text(item, "claimed_at"),
        taxpayer_id=_optional_text(item, "taxpayer_id") or "",
        business_serial=_optional_text(item, "business_serial"),
    )
    for fault in _contradictions(listed, taxpayer_id):
        raise _BadItemError(fault)
    return listed


def _contradictions(listed: ListedRange, taxpayer_id: str) -> Iterator[str]:
    if listed.taxpayer_id != taxpayer_id:
        yield "taxpayer_id isn't the one that was asked for"
    if listed.first_number[:_PREFIX_LENGTH] != listed.last_number[:_PREFIX_LENGTH]:
        yield "first_number and last_number differ in their first six digits"
    if listed.first_number > listed.last_number:
        yield "last_number lies before first_number"


def _number(item: dict[str, object], field: str) -> str:
    value = item.get(field)
    if isinstance(value, str):
        value = value.strip()
        if len(value) == _NUMBER_LENGTH and value.isascii() and value.isdigit():
            return value
    message = f"{field} isn't a string of 20 digits"
    raise _BadItemError(message)


def _count(item: dict[str, object], field: str) -> int:
    value = item.get(field)
    if isinstance(value, bool) or not isinstance(value, int | str):
        value = ""
    digits = str(value).strip()
    if digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_COUNT:
        return int(digits)
    message = f"{field} isn't a count"
    raise _BadItemError(message)


def _optional_text(item: dict[str, object], field: str) -> str | None:
    """Return the text, None where it is missing, null or empty."""
    value = item.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        message = f"{field} isn't a short text"
        raise _BadItemError(message)
    return value.strip() or None
