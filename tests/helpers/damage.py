"""Damage to the bytes of a file, drawn at random."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["damaged", "damages"]


def damaged(content: bytes, how: str, at: int, other: int, byte: int) -> bytes:
    at, other = at % len(content), other % len(content)
    if how == "flip":
        return content[:at] + bytes([content[at] ^ (1 << byte % 8)]) + content[at + 1 :]
    if how == "set":
        return content[:at] + bytes([byte]) + content[at + 1 :]
    if how == "cut":
        return content[:at]
    if how == "remove":
        return content[: min(at, other)] + content[max(at, other) :]
    if how == "insert":
        return content[:at] + bytes([byte]) * (1 + other % 9) + content[at:]
    a, b = sorted((at, other))
    return content[:a] + content[b : b + 1] + content[a + 1 : b] + content[a : a + 1] + content[b + 1 :]


damages = st.tuples(
    st.sampled_from(["flip", "set", "cut", "remove", "insert", "swap"]),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
    st.integers(0, 255),
)
