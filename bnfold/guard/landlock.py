"""Linux's Landlock: a process gives up, for good, writing outside some folders, running programs, and the network.

Source: the kernel's documentation, "Landlock: unprivileged access control" (userspace-api/landlock), ABI 1 to 7.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_ASK_FOR_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_EXECUTE, _WRITE_FILE = 1 << 0, 1 << 1
# Removing and making of folders, files, devices, sockets, pipes and links.
_CHANGE_FOLDERS = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_TCP = 0b11


def confine(folders: Sequence[Path], devices: Sequence[Path] = ()) -> bool:
    """Let this process write only in these folders and to these devices, run no program, and open no connection.

    Returns:
        Whether the system can do that; if not, nothing has changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    system = ctypes.CDLL(None, use_errno=True)
    version = system.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_FOR_VERSION)
    if version < 1:
        return False
    writing = _WRITE_FILE | _CHANGE_FOLDERS | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rules = struct.pack("QQ", writing | _EXECUTE, _TCP if version >= 4 else 0)
    if version < 4:
        rules = rules[:8]
    ruleset = system.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    if ruleset < 0:
        return False
    try:
        for folder in folders:
            _allow(system, ruleset, folder, writing)
        for device in devices:
            _allow(system, ruleset, device, _WRITE_FILE)
        system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        return bool(system.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(system: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    with suppress(OSError):  # a device that this machine does not have
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            system.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
        finally:
            os.close(place)
