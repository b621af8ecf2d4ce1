import os
from datetime import datetime, timedelta
from pathlib import Path

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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_told(tmp_path):
    (tmp_path / "ca").touch(mode=0)
    (problem,) = problems(**tls(CA=str(tmp_path / "ca")))
    assert problem == "SWF_BRIDGE_AMQP_CA_FILE: names a file that this user may not read"


def test_tls_files_without_amqps_are_refused(pem):
    assert problems(AMQP_CA_FILE=pem("cert")) == [
        "SWF_BRIDGE_AMQP_CA_FILE: is of use only with amqps:// in SWF_BRIDGE_AMQP_URL"
    ]
