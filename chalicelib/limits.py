"""What a picture may have at most, for those who need not know how pictures are read."""

MAX_BYTES = 25 * 1024 * 1024
"""Largest file that is read, in bytes."""
