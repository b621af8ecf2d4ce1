"""`make check` asks for known vulnerabilities: the real pip-audit, and advisories of our own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
REFUSED = "http://127.0.0.1:9/"


class Advisories(ThreadingHTTPServer):
    """Answers as OSV does; `of` has the version in which a package's vulnerability is mended."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Query)
        self.url = f"http://127.0.0.1:{self.server_port}/v1/query"
        self.of: dict[str, str] = {}
        self.asked: set[tuple[str, str]] = set()


class _Query(BaseHTTPRequestHandler):
    server: Advisories

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = asked["package"]["name"]
        self.server.asked.add((name, asked["version"]))
        body = json.dumps(_known(name, self.server.of[name]) if name in self.server.of else {})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        pass


def _known(name: str, fixed: str) -> dict[str, object]:
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = {
        "package": {"name": name, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"vulns": [{"id": "TEST-1", "summary": "of the test", "affected": [affected]}]}


@pytest.fixture
def advisories() -> Iterator[Advisories]:
    with Advisories() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def audit(lock: Path, url: str, cache: Path) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, ROOT / "tools/audit.py", lock, url],
        env={"PATH": "/usr/bin:/bin", "HOME": str(cache), "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


def test_a_lock_without_a_known_vulnerability_passes(
    advisories: Advisories, tmp_path: Path
) -> None:
    code, said = audit(LOCK, advisories.url, tmp_path)
    locked = [line.split()[0] for line in LOCK.read_text().splitlines() if "==" in line]
    assert {f"{name}=={version}" for name, version in advisories.asked} == set(locked)
    assert (code, said) == (
        0,
        f"audit: 0 known vulnerabilities in {len(locked)} packages audited\n",
    )


def test_a_known_vulnerability_of_a_locked_version_fails_and_says_what_mends_it(
    advisories: Advisories, tmp_path: Path
) -> None:
    advisories.of["pika"] = "99.1"
    code, said = audit(LOCK, advisories.url, tmp_path)
    assert code == 1
    assert "audit: pika " in said
    assert ": TEST-1, fixed in: 99.1\n" in said


def test_where_advisories_cannot_be_had_it_says_so_and_is_no_fault_of_the_commit(
    tmp_path: Path,
) -> None:
    code, said = audit(LOCK, REFUSED, tmp_path)
    assert code == 0
    assert said == "audit: WARNING: the advisory service cannot be reached; nothing was audited\n"


def test_a_lock_without_hashes_fails_also_where_advisories_cannot_be_had(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text("pika==1.3.2\n")
    code, said = audit(lock, REFUSED, tmp_path)
    assert code == 1
    assert "does not contain a hash" in said


def test_make_check_audits_what_is_installed_on_a_server() -> None:
    (recipe,) = [
        part for part in (ROOT / "Makefile").read_text().split("\n\n") if part.startswith("check:")
    ]
    assert "tools/audit.py requirements.lock" in recipe
