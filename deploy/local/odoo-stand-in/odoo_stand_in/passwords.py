"""Passwords as passlib's pbkdf2_sha512 writes them: $pbkdf2-sha512$ROUNDS$SALT$SUM, base64 without padding, . for +."""

import base64
import hashlib
import hmac
import os

ROUNDS = 600_000


def hash_password(password: str) -> str:
    salt = os.urandom(16)
    return f'$pbkdf2-sha512${ROUNDS}${_encode(salt)}${_encode(_sum(password, salt, ROUNDS))}'


def verify(password: str, stored: str | None) -> bool:
    """False also for what is no such hash."""
    try:
        _, scheme, rounds, salt, checksum = (stored or '').split('$')
        if scheme != 'pbkdf2-sha512':
            return False
        return hmac.compare_digest(_sum(password, _decode(salt), int(rounds)), _decode(checksum))
    except ValueError:
        return False


def is_weak(stored: str) -> bool:
    """Of a hash that verify accepted: whether it has fewer rounds than a new one would have."""
    return int(stored.split('$')[2]) < ROUNDS


def _sum(password: str, salt: bytes, rounds: int) -> bytes:
    return hashlib.pbkdf2_hmac('sha512', password.encode(), salt, rounds, 64)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip('=').replace('+', '.')


def _decode(text: str) -> bytes:
    return base64.b64decode(text.replace('.', '+') + '=' * (-len(text) % 4), validate=True)
