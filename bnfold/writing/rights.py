"""Owner, mode and extended attributes of a file that is replaced, for the one that replaces it."""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path


def take_over_rights(path: Path, old: Path) -> list[str]:
    """Give a file the owner, the mode and the extended attributes of another, if that is there.

    Returns:
        A warning where this user may not give the file away.

    Raises:
        OSError: the mode cannot be set.
    """
    try:
        status = old.stat()
    except OSError:
        return []
    given = _give(path, status)
    os.chmod(path, stat.S_IMODE(status.st_mode))
    with suppress(OSError):  # attributes that a system keeps for itself
        shutil.copystat(old, path)
    os.utime(path)
    if given:
        return []
    return [f"{old.name} belonged to another user or group and belongs to you now: nobody may give files away but root"]


def _give(path: Path, status: os.stat_result) -> bool:
    """Whether the file has the owner and the group now; a group alone is better than neither."""
    if not hasattr(os, "chown"):
        return True
    done = True
    for owner, group in ((status.st_uid, -1), (-1, status.st_gid)):
        try:
            os.chown(path, owner, group)
        except OSError:
            done = False
    return done
