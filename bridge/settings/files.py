"""What the files and sockets that settings name must be before the daemon starts.

Each function returns the path it accepts and raises ``ValueError`` with a sentence that follows
the name of a variable.
"""

import os
import ssl
from pathlib import Path

from pydantic import ValidationInfo

from bridge.settings.environment import variable

SOCKET_PATH_BYTES = 107
"""What Linux takes as the path of a Unix socket (``unix(7)``: 108 with the closing NUL)."""


def readable(path: Path) -> Path:
    """Accept a file that is there and may be read."""
    if not os.path.isfile(path):  # Path.is_file raises where a directory may not be searched
        raise ValueError("names no file")
    if not os.access(path, os.R_OK):
        raise ValueError("names a file that this user may not read")
    return path


def place_for_a_file(path: Path) -> Path:
    """Accept a path at which a file stands or can be made."""
    if os.path.isdir(path):
        raise ValueError("is a directory, where a file is needed")
    if not os.path.isdir(path.parent):
        raise ValueError("lies in a directory that does not exist")
    return path


def place_for_a_socket(path: Path) -> Path:
    """Accept a path at which a Unix socket can be made."""
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
    """Accept a file of TLS where some address of RabbitMQ is one for TLS."""
    url = info.data.get("amqp_url")
    if url and "amqps://" not in url.get_secret_value():
        raise ValueError(f"is of use only with amqps:// in {variable('amqp_url')}")
    return path


def key_of_certificate(path: Path, info: ValidationInfo) -> Path:
    """Accept a PEM file with the private key, not encrypted, of the certificate that is set."""
    certificate = info.data.get("amqp_cert_file")
    try:
        # With a password given, OpenSSL does not ask the terminal for that of an encrypted key.
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_cert_chain(certificate, path, password="")
    except (OSError, ValueError):
        raise ValueError("names no unencrypted PEM key of that certificate") from None
    return path
