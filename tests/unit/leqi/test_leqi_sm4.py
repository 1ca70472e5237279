"""The cover of the bodies, pinned with texts that other programs made."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.leqi import ClaimBody
from worker.leqi.sm4 import DecryptionError, Sm4

KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")

# The domain page's vector, made with two independent implementations.
PLAIN = '{"nsrsbh":"91440300587908164C","lysl":1000,"ywlsh":"U000001D0000010123456789abcdef0123456789ABCDEF"}'
COVERED = (
    "lhXvfeCDi90doSbmW/9T4ZYmBAQvaFGP0pWqIZTh0JGqPZxxpTDnxSZ9rAkgpTN8Fpx9t51ePEaWq12usqLZcWDzObMRl7Sdbc1QKj1r7a4n"
    "UTPpexYUem1MiqErkDSK/4YnveQ/EM5HVVqSMFFfbQ=="
)


def test_the_published_vector_comes_out_when_encrypting() -> None:
    assert Sm4(KEY).encrypt(PLAIN.encode()) == COVERED.encode()


def test_the_published_vector_comes_out_when_decrypting() -> None:
    assert Sm4(KEY).decrypt(COVERED) == PLAIN.encode()


def test_the_block_of_the_standard_itself() -> None:
    # GB/T 32907-2016, appendix A.1: the key encrypts itself to this block.
    block = base64.b64decode(Sm4(KEY).encrypt(KEY))[:16]
    assert block.hex() == "681edf34d206965e86b3e94f536e4246"


def test_a_request_has_the_vectors_text() -> None:
    body = ClaimBody("91440300587908164C", 1000, "U000001D0000010123456789abcdef0123456789ABCDEF")
    assert body.encode() == PLAIN.encode()


def test_line_breaks_in_base64_are_read() -> None:
    assert Sm4(KEY).decrypt("\r\n".join((COVERED[:76], COVERED[76:152], COVERED[152:]))) == PLAIN.encode()


@pytest.mark.parametrize(
    "text",
    ["", "=", "no base64!", "AAAA", COVERED[:-4], COVERED[4:], "发票", "\ud800", base64.b64encode(bytes(16)).decode()],
)
def test_what_was_not_made_with_the_key_is_refused(text: str) -> None:
    with pytest.raises(DecryptionError):
        Sm4(KEY).decrypt(text)


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Sm4(bytes(length))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_every_text_comes_back(plain: bytes) -> None:
    cipher = Sm4(KEY)
    assert cipher.decrypt(cipher.encrypt(plain).decode()) == plain
