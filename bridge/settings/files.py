"""Checks of files and sockets that settings name, made before the daemon starts.

Each function returns a valid path, else raises ``ValueError`` with a sentence to be printed after
the name of the variable.
"""

import os
import ssl
import stat
from pathlib import Path

from pydantic import ValidationInfo

from bridge.settings.environment import variable

SOCKET_PATH_BYTES = 107
"""Bytes of a Unix socket's path at most (``unix(7)``: 108 with the final NUL)."""


def readable(path: Path) -> Path:
    """Accept an existing file that this user may read."""
    if not stat.S_ISREG(_mode(path)):
        raise ValueError("names no file")
    if not os.access(path, os.R_OK):
        raise ValueError("names a file that this user may not read")
    return path


def place_for_a_file(path: Path) -> Path:
    """Accept a path that is not a directory, in a directory that exists."""
    if stat.S_ISDIR(_mode(path)):
        raise ValueError("is a directory, where a file is needed")
    if not stat.S_ISDIR(_mode(path.parent)):
        raise ValueError("lies in a directory that does not exist")
    return path


def _mode(path: Path) -> int:
    """The type and permissions of what stands there; 0 if nothing does."""
    try:
        return path.stat().st_mode
    except PermissionError:
        raise ValueError("lies in a directory that this user may not search") from None
    except (OSError, ValueError):
        return 0


def place_for_a_socket(path: Path) -> Path:
    """Accept a path for a Unix socket, as ``place_for_a_file`` and short enough."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise ValueError(f"is over {SOCKET_PATH_BYTES} bytes, too long for a Unix socket")
    return place_for_a_file(path)


def authorities(path: Path) -> Path:
    """Accept a PEM file of certificates."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(readable(path))
    except OSError:
        raise ValueError("names no PEM file of certificates") from None
    return path


def only_with_tls(path: Path, info: ValidationInfo) -> Path:
    """Accept a TLS file if at least one URL of RabbitMQ is amqps."""
    url = info.data.get("amqp_url")
    if url and "amqps://" not in url.get_secret_value():
        raise ValueError(f"is of use only with amqps:// in {variable('amqp_url')}")
    return path


def key_of_certificate(path: Path, info: ValidationInfo) -> Path:
    """Accept a PEM file with the unencrypted private key of the configured certificate, if any."""
    certificate = info.data.get("amqp_cert_file")
    try:
        # Given a password, OpenSSL does not ask on the terminal for that of an encrypted key.
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(certificate, path, password="")
    except (OSError, ValueError):
        raise ValueError("names no unencrypted PEM key of that certificate") from None
    return path
