"""
What proves that a request is by who holds an API key: a signature over the request as it was sent.

    HMAC      a secret that both sides have      hexadecimal, in either case
    ED25519   the client's private key           base64; the exchange knows the public key alone
    RSA       the same, PKCS #1 v1.5 and SHA-256, 2,048 to 8,192 bits

(Binance's REST API, section "SIGNED endpoint security".)

Always true: a comparison takes the same time whatever differs; a signature is written in one way (but for the case of HMAC's digits); a
public key that is weak or malformed is refused when it is given.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import sha256
from typing import Final, Protocol, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

HMAC: Final = "HMAC"
ED25519: Final = "ED25519"
RSA: Final = "RSA"

RSA_BITS_MIN: Final = 2_048
RSA_BITS_MAX: Final = 8_192  # verifying one takes time, and a stranger may have it done
PEM_CHARS_MAX: Final = 4_096
EXPONENT: Final = 65_537


class BadPublicKey(ValueError):
    """What was given is no public key that signatures can be checked with; the text says why, for whoever gave it."""


class Verifier(Protocol):
    def verifies(self, payload: bytes, signature: str) -> bool:
        """Whether the key signed that."""


@final
class HmacVerifier:
    __slots__ = ("_mac",)

    def __init__(self, secret: bytes) -> None:
        self._mac = hmac.new(secret, digestmod=sha256)  # copied for each request: half the time of a new one

    def verifies(self, payload: bytes, signature: str) -> bool:
        mac = self._mac.copy()
        mac.update(payload)
        return hmac.compare_digest(mac.hexdigest(), signature.lower())


@final
class Ed25519Verifier:
    """By libsodium, which takes a third of OpenSSL's time."""

    __slots__ = ("_key",)

    def __init__(self, public_key: bytes) -> None:
        self._key = VerifyKey(public_key)

    def verifies(self, payload: bytes, signature: str) -> bool:
        raw = from_base64(signature)
        try:
            return len(raw) == 64 and bool(self._key.verify(payload, raw) == payload)
        except BadSignatureError:
            return False


@final
class RsaVerifier:
    __slots__ = ("_key",)

    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    def verifies(self, payload: bytes, signature: str) -> bool:
        try:
            self._key.verify(from_base64(signature), payload, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def from_base64(text: str) -> bytes:
    """What is malformed, or is not as an encoder writes it, is no signature: empty."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if base64.b64encode(raw) == text.encode() else b""


def public_key_of(pem: str) -> tuple[str, str]:
    """The kind of a public key, and its PEM as it is kept. BadPublicKey."""
    key = parsed(pem)
    kind = ED25519 if isinstance(key, Ed25519PublicKey) else RSA
    return kind, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def parsed(pem: str) -> Ed25519PublicKey | RSAPublicKey:
    if "PRIVATE KEY" in pem:
        raise BadPublicKey("it is a private key: give the public one, and keep this one to yourself")
    try:
        key = load_pem_public_key(pem.encode("ascii")) if len(pem) <= PEM_CHARS_MAX else None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, RSAPublicKey):
        if not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            raise BadPublicKey(f"it is an RSA key of {key.key_size} bits: take one of {RSA_BITS_MIN} to {RSA_BITS_MAX}, or Ed25519")
        if key.public_numbers().e != EXPONENT:
            raise BadPublicKey(f"it is an RSA key with another exponent than {EXPONENT}")
        return key
    if isinstance(key, Ed25519PublicKey):
        return key
    raise BadPublicKey("it is no public key of Ed25519 or RSA in PEM: such as `openssl pkey -in private.pem -pubout` prints")


def verifier_of(kind: str, secret: str) -> Verifier:
    """Of a key as it is kept: `secret` is HMAC's, else the public key in PEM."""
    if kind == HMAC:
        return HmacVerifier(secret.encode())
    key = parsed(secret)
    if isinstance(key, RSAPublicKey):
        return RsaVerifier(key)
    return Ed25519Verifier(key.public_bytes_raw())
