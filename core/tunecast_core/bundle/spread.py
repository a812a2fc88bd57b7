"""Makes ext4 allocate a directory's subdirectories far apart from each other.

Without a journal, ext4 skips every inode that was deleted in the last minutes when it looks for a free one nearby,
so that creating many small files is slow. On other file systems the flag has little or no effect.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
_TOP_OF_TREE = 0x20000  # FS_TOPDIR_FL, as chattr +T sets it
_INT = "=I"  # the request numbers declare a long, but the kernel reads and writes an int


def spread(directory: Path) -> None:
    """Sets the flag on ``directory``, and ignores file systems and sandboxes that refuse it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with contextlib.suppress(OSError):
            (flags,) = struct.unpack(_INT, fcntl.ioctl(descriptor, _GET_FLAGS, bytes(4)))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack(_INT, flags | _TOP_OF_TREE))
    finally:
        os.close(descriptor)
