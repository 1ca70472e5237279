"""SM4-ECB with PKCS#7 padding and base64: the cover of every body that LeQi exchanges.

LeQi prescribes the ECB mode (base document, encryption sample).
It hides the text from a passer-by and proves nothing about who sent it: TLS and the address
allow-list do that.
"""

import base64
import binascii
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

KEY_BYTES: Final = 16
_BLOCK_BITS: Final = 128


class DecryptionError(ValueError):
    """The text isn't base64, isn't whole blocks, or wasn't made with this key."""


class Sm4:
    """Encrypts and decrypts with one direct unit's key; safe to share between threads."""

    def __init__(self, key: bytes) -> None:
        """Take the 16-byte key; raises `ValueError` for any other length."""
        if len(key) != KEY_BYTES:
            message = f"an SM4 key has {KEY_BYTES} bytes"
            raise ValueError(message)
        self._cipher = Cipher(algorithms.SM4(key), modes.ECB())  # noqa: S305 - as prescribed

    def encrypt(self, plain: bytes) -> bytes:
        """Return `plain` encrypted, as base64 on one line."""
        padder = PKCS7(_BLOCK_BITS).padder()
        encryptor = self._cipher.encryptor()
        padded = padder.update(plain) + padder.finalize()
        return base64.b64encode(encryptor.update(padded) + encryptor.finalize())

    def decrypt(self, text: str) -> bytes:
        """Return what `text` covers; line breaks within the base64 are allowed.

        Raises `DecryptionError`. A wrong key may go unnoticed once in some 256 times, as the
        padding is the only check: what comes out is to be read with suspicion.
        """
        try:
            covered = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            raise DecryptionError("not base64") from None  # noqa: EM101, TRY003
        unpadder = PKCS7(_BLOCK_BITS).unpadder()
        decryptor = self._cipher.decryptor()
        try:
            padded = decryptor.update(covered) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise DecryptionError("other key, or damaged") from None  # noqa: EM101, TRY003
