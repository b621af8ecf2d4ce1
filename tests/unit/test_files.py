import os
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.settings_given import load, problems


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """A certificate and its key, another key, and the same encrypted; by name."""
    folder = tmp_path_factory.mktemp("pem")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now()
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    texts = {"cert": certificate.public_bytes(serialization.Encoding.PEM), "text": b"no PEM\n"}
    for file, each, secret in (
        ("key", key, serialization.NoEncryption()),
        ("other", ec.generate_private_key(ec.SECP256R1()), serialization.NoEncryption()),
        ("encrypted", key, serialization.BestAvailableEncryption(b"pass")),
    ):
        texts[file] = each.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret
        )
    for file, text in texts.items():
        (folder / file).write_bytes(text)
    return lambda file: str(folder / file)


def tls(**files):
    return {"AMQP_URL": "amqps://h"} | {f"AMQP_{name}_FILE": path for name, path in files.items()}


def test_a_certificate_with_its_key_is_taken(pem):
    settings = load(**tls(CA=pem("cert"), CERT=pem("cert"), KEY=pem("key")))
    assert settings.amqp_ca_file == settings.amqp_cert_file == Path(pem("cert"))


@pytest.mark.parametrize("key", ["other", "encrypted", "text", "cert"])
def test_a_key_that_is_not_the_certificates_is_refused_without_asking_for_a_password(pem, key):
    assert problems(**tls(CERT=pem("cert"), KEY=pem(key))) == [
        "SWF_BRIDGE_AMQP_KEY_FILE: names no unencrypted PEM key of that certificate"
    ]


def test_a_certificate_or_a_key_alone_is_refused(pem):
    assert problems(**tls(CERT=pem("cert"))) == [
        "SWF_BRIDGE_AMQP_CERT_FILE: needs SWF_BRIDGE_AMQP_KEY_FILE too"
    ]
    assert problems(**tls(KEY=pem("key"))) == [
        "SWF_BRIDGE_AMQP_KEY_FILE: needs SWF_BRIDGE_AMQP_CERT_FILE too"
    ]


def test_authorities_must_be_certificates_and_there(pem):
    assert problems(**tls(CA=pem("text"))) == [
        "SWF_BRIDGE_AMQP_CA_FILE: names no PEM file of certificates"
    ]
    assert problems(**tls(CA="/no/such")) == ["SWF_BRIDGE_AMQP_CA_FILE: names no file"]


@contextmanager
def not_root():
    """As a user who may not read every file."""
    if is_root := os.getuid() == 0:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)


@pytest.fixture
def seen_by_all():
    """A folder that every user may search, unlike `tmp_path`."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_file_that_may_not_be_read_is_told(seen_by_all):
    (seen_by_all / "ca").touch(mode=0)
    with not_root():
        (problem,) = problems(**tls(CA=str(seen_by_all / "ca")))
    assert problem == "SWF_BRIDGE_AMQP_CA_FILE: names a file that this user may not read"


def test_a_file_in_a_folder_that_may_not_be_searched_is_not_told_to_be_missing(seen_by_all):
    folder = seen_by_all / "closed"
    folder.mkdir(0o700)
    (folder / "ca").touch()
    folder.chmod(0)
    with not_root():
        told = [*problems(**tls(CA=str(folder / "ca"))), *problems(JOURNAL=str(folder / "j.db"))]
    assert told == [
        "SWF_BRIDGE_AMQP_CA_FILE: lies in a directory that this user may not search",
        "SWF_BRIDGE_JOURNAL: lies in a directory that this user may not search",
    ]


def test_tls_files_without_amqps_are_refused(pem):
    assert problems(AMQP_CA_FILE=pem("cert")) == [
        "SWF_BRIDGE_AMQP_CA_FILE: is of use only with amqps:// in SWF_BRIDGE_AMQP_URL"
    ]
