"""The socket file: created for its owner alone, a dead daemon's replaced, a living one's respected."""

from __future__ import annotations

import os
import socket
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perp_bot.core.errors import DaemonBusy, IpcError
from perp_bot.ipc.control import Peer

_BACKLOG = 64
_PROBE_TIMEOUT_S = 0.5


@dataclass(slots=True)
class Listener:
    """A bound, non-blocking listening socket and the file it stands at."""

    socket: socket.socket
    path: Path
    inode: int

    def close(self) -> None:
        """Stop listening and remove the file, unless another daemon has put its own there."""
        self.socket.close()
        with suppress(OSError):
            if self.path.stat().st_ino == self.inode:
                self.path.unlink()


def listen(path: Path) -> Listener:
    """Bind `path` with mode 0600 and listen.

    Raises:
        DaemonBusy: another process answers there.
        IpcError: the folder is not ours, or the path is taken by something that is not a socket.
    """
    _own_folder(path.parent)
    _clear_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listening.bind(os.fspath(path))
    except OSError as error:
        listening.close()
        raise IpcError(f"cannot create the socket {path}: {error.strerror or error}") from error
    finally:
        os.umask(mask)
    listening.listen(_BACKLOG)
    listening.setblocking(False)
    return Listener(listening, path, path.stat().st_ino)


def peer_of(connection: socket.socket) -> Peer:
    """Return who is at the other end, by the kernel's word."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Peer(pid=pid, uid=uid)


def _own_folder(folder: Path) -> None:
    try:
        created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for made in created:
            made.chmod(0o700)
        found = folder.stat()
    except OSError as error:
        raise IpcError(f"cannot create the socket's folder {folder}: {error.strerror or error}") from error
    # Someone else's folder (in a shared /tmp) would let them swap the socket under us.
    if found.st_uid not in (os.getuid(), 0):
        raise IpcError(f"the socket's folder {folder} belongs to uid {found.st_uid}, not to us")


def _clear_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise IpcError(f"{path} exists and is not a socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        except OSError as error:  # a full backlog: alive, only busy
            raise DaemonBusy(f"another daemon holds {path} but does not answer ({error.strerror or error})") from error
        else:
            raise DaemonBusy(f"another daemon (pid {peer_of(probe).pid}) answers at {path}")
    path.unlink(missing_ok=True)
