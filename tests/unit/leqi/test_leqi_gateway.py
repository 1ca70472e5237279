"""The listing gateway: pages, their wrappers, and items that are no ranges."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.leqi.gateway import ChannelGateway
from worker.leqi.port import ListedRange, ListingError, RangeListing

TAXPAYER = "91440300587908164C"


def item(first: int = 1, quantity: int = 10, **changes: object) -> dict[str, Any]:
    return {
        "first_number": f"264470{first:014}",
        "last_number": f"264470{first + quantity - 1:014}",
        "quantity": quantity,
        "unused": quantity,
        "claimed_at": "2026-03-01T08:00:00+08:00",
        "taxpayer_id": TAXPAYER,
        "business_serial": f"U1D1{first:032}",
    } | changes


def asking(answer: Callable[[httpx.Request], object], seconds: float = 30.0) -> ChannelGateway:
    def reply(request: httpx.Request) -> httpx.Response:
        content = answer(request)
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return httpx.Response(200, stream=httpx.ByteStream(raw))

    return ChannelGateway("http://gw.example/v1/", transport=httpx.MockTransport(reply), seconds=seconds)


def listed(*pages: object) -> tuple[list[ListedRange], int]:
    """What comes of these pages, none after them, and how many were asked for."""
    asked: list[int] = []

    def answer(request: httpx.Request) -> object:
        asked.append(int(request.url.params["page"]))
        return pages[asked[-1] - 1] if asked[-1] <= len(pages) else []

    ranges = asking(answer).ranges(TAXPAYER)
    assert asked == list(range(1, len(asked) + 1))
    return ranges, len(asked)


def firsts(ranges: list[ListedRange]) -> list[int]:
    return [int(each.first_number[6:]) for each in ranges]


def test_the_gateway_is_a_listing() -> None:
    listing: RangeListing = asking(lambda _: [])
    assert listing.ranges(TAXPAYER) == []


def test_it_asks_as_the_contract_says() -> None:
    urls: list[str] = []

    def answer(request: httpx.Request) -> object:
        urls.append(str(request.url))
        return []

    asking(answer).ranges(TAXPAYER)
    assert urls == [f"http://gw.example/v1/channel/ranges?taxpayer_id={TAXPAYER}&page=1"]


def test_an_item_is_read_whole() -> None:
    ranges, _ = listed([item(quantity=1000, unused=7, more="x")])
    assert ranges == [
        ListedRange(
            first_number="26447000000000000001",
            last_number="26447000000000001000",
            quantity=1000,
            unused=7,
            claimed_at="2026-03-01T08:00:00+08:00",
            taxpayer_id=TAXPAYER,
            business_serial="U1D1" + "1".zfill(32),
        )
    ]


@pytest.mark.parametrize(
    "changes", [{"business_serial": None, "claimed_at": ""}, {"business_serial": " ", "claimed_at": None}]
)
def test_serial_and_time_may_be_unknown(changes: dict[str, Any]) -> None:
    (only,), _ = listed([item(**changes)])
    assert (only.business_serial, only.claimed_at) == (None, None)


def test_counts_may_be_strings() -> None:
    (only,), _ = listed([item(quantity=10) | {"quantity": "10", "unused": " 0 "}])
    assert (only.quantity, only.unused) == (10, 0)


@pytest.mark.parametrize("wrap", [list, lambda items: {"items": items, "total": 99, "page": 1}])
def test_pages_are_read_until_an_empty_one(wrap: Callable[[list[object]], object]) -> None:
    ranges, asked = listed(wrap([item(1), item(11)]), wrap([item(21)]), wrap([]), wrap([item(31)]))
    assert firsts(ranges) == [1, 11, 21]
    assert asked == 3


def test_a_repeated_page_ends_the_listing() -> None:
    unused = iter(range(100))
    ranges = asking(lambda _: [item(1, unused=next(unused)), item(11)]).ranges(TAXPAYER)
    assert firsts(ranges) == [1, 11]


def test_a_range_that_moved_to_the_next_page_comes_once() -> None:
    ranges, _ = listed([item(21), item(11)], [item(11), item(1)])
    assert firsts(ranges) == [21, 11, 1]


@pytest.mark.parametrize("last", [{"pages": 2}, {"next_page": None}])
def test_a_page_may_say_that_it_is_the_last(last: dict[str, object]) -> None:
    ranges, asked = listed({"items": [item(1)], "pages": 2, "next_page": 2}, {"items": [item(11)]} | last, [item(21)])
    assert firsts(ranges) == [1, 11]
    assert asked == 2


def test_a_listing_without_end_is_refused() -> None:
    endless = asking(lambda request: [item(int(request.url.params["page"]) * 100)])
    with pytest.raises(ListingError, match="doesn't end after 1000 pages"):
        endless.ranges(TAXPAYER)


def test_a_listing_that_takes_too_long_is_refused() -> None:
    with pytest.raises(ListingError, match="took longer than 0 s"):
        asking(lambda request: [item(int(request.url.params["page"]) * 100)], seconds=0).ranges(TAXPAYER)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (item(first_number=26447000000000000001), "first_number"),
        (item(first_number="2644700000000000001"), "first_number"),
        (item(first_number="2644700000000000000\uff11"), "first_number"),
        (item(last_number=None), "last_number"),
        (item(last_number="26447100000000000010"), "first six digits"),
        (item(last_number="26447000000000000000"), "before first_number"),
        (item() | {"quantity": -1}, "quantity"),
        (item() | {"quantity": True}, "quantity"),
        (item() | {"quantity": 1.5}, "quantity"),
        (item() | {"quantity": 10**15}, "quantity"),
        (item(unused=None), "unused"),
        (item(taxpayer_id="91350100M000100Y43"), "taxpayer_id"),
        (item(taxpayer_id=None), "taxpayer_id"),
        (item(business_serial="s" * 101), "business_serial"),
        (item(business_serial="a\x00"), "business_serial"),
        (item(claimed_at=5), "claimed_at"),
        ("x", "not an object"),
        (None, "not an object"),
    ],
)
def test_a_bad_item_is_named_and_never_left_out(bad: object, field: str) -> None:
    with pytest.raises(ListingError, match=rf"page 2 .*item 2: .*{field}"):
        listed([item(1)], [item(11), bad, item(31)])


def test_many_bad_items_are_counted() -> None:
    with pytest.raises(ListingError, match=r"item 5: [^;]*; 15 more$"):
        listed([None] * 20)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[" * 100_000, b"{}", b"5", b'{"items":null}', b'{"items":{}}', b"\xff"]
)
def test_a_page_that_is_no_listing_is_refused(content: bytes) -> None:
    with pytest.raises(ListingError, match="page 1"):
        listed(content)


@pytest.mark.parametrize("status", [204, 302, 403, 404, 500])
def test_another_status_is_refused(status: int) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, stream=httpx.ByteStream(b"[]")))
    with pytest.raises(ListingError, match=f"page 1 with HTTP {status}"):
        ChannelGateway("http://gw", transport=transport).ranges(TAXPAYER)


def test_a_gateway_that_is_away_is_a_clear_reason() -> None:
    away = httpx.ConnectError("[Errno 111] Connection refused")

    def fail(_: httpx.Request) -> httpx.Response:
        raise away

    gateway = ChannelGateway("http://gw", transport=httpx.MockTransport(fail))
    with pytest.raises(ListingError, match=r"no connection to the channel gateway .*FUMA_CHANNEL_GATEWAY_URL"):
        gateway.ranges(TAXPAYER)
    gateway.close()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="FUMA_CHANNEL_GATEWAY_URL"):
        ChannelGateway("gw.example")


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["items", "pages", *item()]), inner),
        max_leaves=10,
    )
)
def test_whatever_comes_is_a_listing_or_a_listing_error(page: object) -> None:
    with suppress(ListingError):
        assert all(each.taxpayer_id == TAXPAYER for each in asking(lambda _: page).ranges(TAXPAYER))
