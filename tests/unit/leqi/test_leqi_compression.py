"""Answers that come compressed though nobody asked for it."""

import gzip
import zlib

import httpx
import pytest

from worker.leqi.transport import BoundedHttp, FetchError, Peer

PLAIN = b'{"httpStatusCode":"200"}'


def fetched(content: bytes, encoding: str, largest: int = 10_000) -> bytes:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": encoding}, stream=httpx.ByteStream(content))

    http = BoundedHttp(Peer("LeQi", "FUMA_LEQI_URL"), largest=largest, transport=httpx.MockTransport(answer))
    return http.get("http://h", "/").content


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (gzip.compress(PLAIN, mtime=0), "gzip"),
        (gzip.compress(PLAIN, mtime=0), "GZIP"),
        (zlib.compress(PLAIN), "deflate"),
        (PLAIN, "identity"),
    ],
)
def test_the_usual_compressions_are_opened(content: bytes, encoding: str) -> None:
    assert fetched(content, encoding) == PLAIN


def test_a_bomb_is_refused_by_its_inflated_size() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(FetchError, match="longer than 100000 bytes") as refusal:
        fetched(bomb, "gzip", 100_000)
    assert refusal.value.too_large


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (PLAIN, "gzip"),
        (gzip.compress(PLAIN, mtime=0)[:-4], "gzip"),
        (b"", "gzip"),
        (PLAIN, "br"),
        (PLAIN, "gzip, gzip"),
    ],
)
def test_what_does_not_open_is_refused(content: bytes, encoding: str) -> None:
    with pytest.raises(FetchError):
        fetched(content, encoding)
