"""What AWS's variables and files say holds for both ways: endpoint, TLS, proxies, credentials."""

import base64
import json
import ssl
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import botocore.session
import pytest

from bridge.errors import ConfigError, Unavailable
from bridge.swf import aws
from bridge.swf.client import Way
from bridge.task import Completed
from tests.contract.certificates import DAY, Authority
from tests.contract.sides import PYCURL, MakeSwf
from tests.contract.wires import Proxy, Recorder, http

needs_pycurl = pytest.mark.skipif(not PYCURL, reason="PycURL is not there")


@pytest.fixture
def server() -> Iterator[Recorder]:
    with Recorder() as recorder:
        yield recorder


# --- endpoint ---

ENDPOINTS = {
    "a region": {"AWS_REGION": "eu-central-1"},
    "China": {"AWS_REGION": "cn-north-1"},
    "GovCloud": {"AWS_REGION": "us-gov-west-1"},
    "FIPS": {"AWS_REGION": "us-east-2", "AWS_USE_FIPS_ENDPOINT": "true"},
    "FIPS in GovCloud": {"AWS_REGION": "us-gov-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
    "dual stack": {"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    "dual stack and FIPS": {
        "AWS_REGION": "us-west-2",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
    },
    "a region of another day": {"AWS_REGION": "eu-nowhere-9"},
    "of the service": {
        "AWS_ENDPOINT_URL_SWF": "http://swf.test:1234",
        "AWS_ENDPOINT_URL": "http://all.test",
    },
    "of all services": {"AWS_ENDPOINT_URL": "https://all.test:8443/"},
    "with a path": {"AWS_ENDPOINT_URL_SWF": "http://swf.test/under/here"},
    "ignored": {
        "AWS_ENDPOINT_URL_SWF": "http://swf.test",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    },
    "botocore's variable for the region": {"AWS_REGION": "", "AWS_DEFAULT_REGION": "ap-south-1"},
}


@needs_pycurl
@pytest.mark.parametrize("environment", ENDPOINTS.values(), ids=ENDPOINTS)
def test_curl_calls_the_url_that_boto3_calls(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    from bridge.swf.curl import Curl

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = aws.Aws()
    client = found.make_client()
    urls: list[str] = []

    def stop(request: object, **_: object) -> None:
        urls.append(request.url)  # type: ignore[attr-defined]
        raise RuntimeError

    client.meta.events.register("before-send.swf", stop)
    with pytest.raises(RuntimeError):
        client.describe_domain(name="demo")
    curl = Curl(found, read_timeout=70)
    assert [curl.endpoint.rstrip("/")] == [url.rstrip("/") for url in urls]


def test_a_path_of_the_endpoint_is_called(way: Way, make_swf: MakeSwf, server: Recorder) -> None:
    make_swf(way, f"{server.url}/under/here").heartbeat("token", None)
    assert server.sent[0].line.split()[1].rstrip("/") == "/under/here"


@pytest.mark.parametrize("region", [None, ""])
def test_without_a_region_nothing_starts(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, region: str | None
) -> None:
    monkeypatch.delenv("AWS_REGION")
    if region is not None:
        monkeypatch.setenv("AWS_REGION", region)
    with pytest.raises(ConfigError, match="AWS_REGION"):
        make_swf(way)


def test_without_the_profile_that_is_named_nothing_starts(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(ConfigError, match="AWS_PROFILE"):
        make_swf(way)


# --- TLS ---


def call_over_tls(
    way: Way, make_swf: MakeSwf, tls: ssl.SSLContext, host: str = "localhost"
) -> list[object]:
    with Recorder(tls=tls) as server:
        swf = make_swf(way, f"https://{host}:{server.port}")
        for call in (
            lambda: swf.poll("demo", "demo"),
            lambda: swf.respond(Completed("token", None)),
        ):
            call()
        return list(server.sent)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_an_authority_that_the_environment_names_is_trusted(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv(variable, str(authority.file))
    assert len(call_over_tls(way, make_swf, authority.server("localhost"))) == 2


def test_an_authority_that_a_profile_names_is_trusted(
    way: Way, make_swf: MakeSwf, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {authority.file}\n")
    assert len(call_over_tls(way, make_swf, authority.server("localhost"))) == 2


def test_an_unknown_authority_is_not_trusted(way: Way, make_swf: MakeSwf, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"(?i)certificate"):
        call_over_tls(way, make_swf, Authority(tmp_path).server("localhost"))


@pytest.mark.parametrize(
    ("host", "until"), [("elsewhere.test", DAY), ("localhost", -DAY)], ids=["host", "expired"]
)
def test_a_certificate_for_another_host_or_day_is_refused(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    host: str,
    until: timedelta,
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    with pytest.raises(Unavailable, match=r"(?i)certificate|doesn't match"):
        call_over_tls(way, make_swf, authority.server(host, until=until))


def test_a_missing_file_of_authorities_is_told_at_each_call(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    with pytest.raises(Unavailable):
        call_over_tls(way, make_swf, Authority(tmp_path).server("localhost"))


@needs_pycurl
def test_without_a_choice_the_authorities_are_botocores(way: Way) -> None:
    assert Path(aws.Aws().authorities()).read_text().count("BEGIN CERTIFICATE") > 50


# --- proxies ---


def test_https_goes_through_a_tunnel_of_the_proxy(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//me:pass%2Fword@"))
        assert len(call_over_tls(way, make_swf, authority.server("localhost"))) == 2
        told = {sent.headers["proxy-authorization"] for sent in proxy.sent}
        assert told == {"Basic " + base64.b64encode(b"me:pass/word").decode()}
        assert all(sent.line.startswith("CONNECT localhost:") for sent in proxy.sent)


def test_http_goes_through_its_proxy_whose_name_needs_no_scheme(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, server: Recorder
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.removeprefix("http://"))
    make_swf(way, "http://swf.test").heartbeat("token", None)
    assert server.sent[0].line.startswith("POST http://swf.test/ ")
    assert server.sent[0].headers["host"] == "swf.test"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("exempt", ["localhost", "*", "elsewhere,.test,localhost"])
def test_an_exempt_host_is_called_without_the_proxy(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    scheme: str,
    exempt: str,
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    monkeypatch.setenv("NO_PROXY", exempt)
    tls = authority.server("localhost") if scheme == "https" else None
    with Proxy() as proxy, Recorder(tls=tls) as server:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
        make_swf(way, f"{scheme}://localhost:{server.port}").heartbeat("token", None)
        assert (len(proxy.sent), len(server.sent)) == (0, 1)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "all_proxy"])
def test_a_variable_that_botocore_does_not_know_has_no_effect(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    server: Recorder,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    make_swf(way, server.url).heartbeat("token", None)
    assert len(server.sent) == 1


# --- credentials ---


def key_of(server: Recorder) -> str:
    """The access key of the last request."""
    return server.sent[-1].headers["authorization"].partition("Credential=")[2].partition("/")[0]


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def test_a_profile_gives_region_and_credentials(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: Recorder,
) -> None:
    forget(monkeypatch)
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_PROFILE", "other")
    (tmp_path / "config").write_text("[profile other]\nregion = sa-east-1\n")
    (tmp_path / "credentials").write_text(
        "[other]\naws_access_key_id = AKOTHER\naws_secret_access_key = s\naws_session_token = tok\n"
    )
    make_swf(way, server.url).poll("demo", "demo")
    sent = server.sent[0].headers
    assert key_of(server) == "AKOTHER"
    assert "/sa-east-1/swf/aws4_request" in sent["authorization"]
    assert sent["x-amz-security-token"] == "tok"


@pytest.mark.parametrize("call", ["poll", "answer"])
def test_credentials_may_come_later(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: Recorder,
    call: str,
) -> None:
    forget(monkeypatch)
    swf = make_swf(way, server.url, aws=aws.Aws(renew=0.0))

    def ask() -> None:
        if call == "poll":
            swf.poll("demo", "demo")
        else:
            swf.heartbeat("token", None)

    for _ in range(2):
        with pytest.raises(Unavailable) as error:
            ask()
        assert error.value.code == "NoCredentialsError"
    assert server.sent == []
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = AKLATE\naws_secret_access_key = s\n"
    )
    ask()
    assert key_of(server) == "AKLATE"


def test_missing_credentials_are_not_looked_for_at_every_call(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: Recorder,
) -> None:
    forget(monkeypatch)
    looked = tmp_path / "looked"
    failing = f"sh -c 'echo >>{looked}; exit 1'"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {failing}\n")
    swf = make_swf(way, server.url, aws=aws.Aws(renew=60.0))
    for _ in range(20):
        with pytest.raises(Unavailable, match="CredentialRetrievalError"):
            swf.poll("demo", "demo")
    assert looked.read_text() == "\n"
    assert server.sent == []


def credential_process(folder: Path, lasting: timedelta) -> Path:
    """A process that gives key AK-n at its n-th call and counts the calls in a file."""
    program, count = folder / "keys.py", folder / "count"
    program.write_text(
        f"""
import json, pathlib, datetime, sys
count = pathlib.Path({str(count)!r})
number = int(count.read_text() or 0) + 1 if count.exists() else 1
count.write_text(str(number))
if (pathlib.Path({str(folder)!r}) / "broken").exists():
    sys.exit("the vault is sealed")
told = {{"Version": 1, "AccessKeyId": f"AK-{{number}}", "SecretAccessKey": "s/+="}}
end = datetime.datetime.now(datetime.timezone.utc)
end += datetime.timedelta(seconds={lasting.total_seconds()})
told |= {{"SessionToken": f"token-{{number}}", "Expiration": end.isoformat()}}
print(json.dumps(told))
"""
    )
    (folder / "config").write_text(
        f"[default]\ncredential_process = {sys.executable} -S {program}\n"
    )
    return count


def test_a_credential_process_is_asked_again_when_its_answer_expires(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: Recorder,
) -> None:
    forget(monkeypatch)
    credential_process(tmp_path, timedelta(minutes=1))  # botocore renews ten minutes before the end
    swf = make_swf(way, server.url)
    seen = []
    for _ in range(3):
        swf.heartbeat("token", None)
        seen.append((key_of(server), server.sent[-1].headers["x-amz-security-token"]))
    numbers = [int(key.removeprefix("AK-")) for key, _ in seen]
    assert numbers == sorted(set(numbers))
    assert [token for _, token in seen] == [f"token-{number}" for number in numbers]


def test_a_credential_process_whose_answer_lasts_is_asked_once(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: Recorder,
) -> None:
    forget(monkeypatch)
    count = credential_process(tmp_path, timedelta(hours=1))
    swf = make_swf(way, server.url)
    for _ in range(5):
        swf.heartbeat("token", None)
        swf.poll("demo", "demo")
    assert count.read_text() == "1"


def test_a_credential_process_that_fails_ends_neither_start_nor_calls(
    way: Way,
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: Recorder,
) -> None:
    forget(monkeypatch)
    credential_process(tmp_path, timedelta(minutes=1))
    broken = tmp_path / "broken"
    broken.touch()
    swf = make_swf(way, server.url, aws=aws.Aws(renew=0.0))
    with pytest.raises(Unavailable, match="the vault is sealed"):
        swf.poll("demo", "demo")
    broken.unlink()
    swf.poll("demo", "demo")
    broken.touch()
    with pytest.raises(Unavailable, match="the vault is sealed"):
        swf.heartbeat("token", None)


def test_half_of_the_credentials_is_a_wrong_configuration(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forget(monkeypatch)
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = AK\n")
    with pytest.raises(ConfigError):
        make_swf(way)


def test_a_role_is_assumed_and_its_refusal_is_unavailable_or_refused(
    way: Way, make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forget(monkeypatch)
    (tmp_path / "config").write_text(
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/bridge\nsource_profile = base\n"
    )
    (tmp_path / "credentials").write_text(
        "[base]\naws_access_key_id = AKBASE\naws_secret_access_key = s\n"
    )
    end = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>'
        "<Credentials><AccessKeyId>AKROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        f"<SessionToken>of-role</SessionToken><Expiration>{end}</Expiration></Credentials>"
        "</AssumeRoleResult></AssumeRoleResponse>"
    ).encode()
    refused = (
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
        b"<Message>not yours</Message></Error></ErrorResponse>"
    )
    with Recorder(lambda sent: http(refused, 403)) as sts, Recorder() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        swf = make_swf(way, server.url)
        with pytest.raises(Unavailable, match="not yours"):
            swf.poll("demo", "demo")
        sts.answer = lambda sent: http(given)
        swf.poll("demo", "demo")
        assert key_of(server) == "AKROLE"
        assert server.sent[-1].headers["x-amz-security-token"] == "of-role"


# --- which way it is ---


@needs_pycurl
def test_a_signature_that_curl_cannot_make_is_made_by_boto3_and_said(
    make_swf: MakeSwf,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    model = botocore.session.get_session().get_service_model("swf")
    signed_otherwise = {**model.metadata, "signatureVersion": "v2", "auth": []}
    place = tmp_path / "swf" / model.api_version
    place.mkdir(parents=True)
    shapes = {name: {"type": "string"} for name in model.shape_names}
    (place / "service-2.json").write_text(
        json.dumps({"metadata": signed_otherwise, "operations": {}, "shapes": shapes})
    )
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    swf = make_swf("auto")
    assert "Boto3" in repr(swf.caller)
    (told,) = [record for record in caplog.records if record.message == "swf.client_replaced"]
    assert "signature version v2" in told.reason  # type: ignore[attr-defined]


@needs_pycurl
def test_a_monitor_of_calls_asks_for_boto3(
    make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, server: Recorder
) -> None:
    monkeypatch.setenv("AWS_CSM_ENABLED", "true")
    assert "Boto3" in repr(make_swf("curl", server.url).caller)


@needs_pycurl
def test_auto_takes_curl_where_it_is_there(make_swf: MakeSwf, server: Recorder) -> None:
    assert "Curl" in repr(make_swf("auto", server.url).caller)
    assert "Boto3" in repr(make_swf("boto3", server.url).caller)


def without_pycurl(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bridge.swf.curl", "bridge.swf.curl_wire"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "pycurl", None)  # type: ignore[arg-type]


def test_curl_without_pycurl_names_the_extra(
    make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pycurl(monkeypatch)
    with pytest.raises(ConfigError, match=r"SWF_CLIENT.*swf-bridge\[fast\]"):
        make_swf("curl")


def test_auto_without_pycurl_is_boto3(make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pycurl(monkeypatch)
    assert "Boto3" in repr(make_swf("auto").caller)


@needs_pycurl
@pytest.mark.parametrize("fault", ["no AWS_SIGV4", "an old libcurl"])
def test_a_pycurl_that_cannot_sign_asks_for_boto3(
    make_swf: MakeSwf, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from bridge.swf import curl_wire

    old = ModuleType("pycurl")
    old.__dict__.update(vars(curl_wire.pycurl))
    if fault == "no AWS_SIGV4":
        del old.AWS_SIGV4
    else:
        old.version_info = lambda: (11, "7.88.1")  # type: ignore[attr-defined]
    monkeypatch.setattr(curl_wire, "pycurl", old)
    assert "Boto3" in repr(make_swf("auto").caller)
