"""Sentry at DEBUG, with an error provoked in every module of the daemon: nothing secret is sent."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from tests.envelopes import Sentry

ROOT = Path(__file__).parents[2]
NOTHING_TO_BREAK = {
    "bridge._version": "the version, which the build writes",
    "bridge.errors": "exceptions, which do nothing",
    "bridge.flow.obstacle": "the names of what keeps a poll from beginning",
    "bridge.flow.heartbeats.reply_to": "bytes in, and nothing out for what it refuses",
    "bridge.journal.schema": "the text of the journal's tables",
    "bridge.threads.part": "what a part is, which does nothing",
    "bridge.telemetry.metrics": "what a metric is, and the list of them, which do nothing",
}
"""The modules in which nothing is done with what comes from outside."""


def test_nothing_secret_is_sent_whichever_module_an_error_comes_from() -> None:
    secret = {
        "token": secrets.token_urlsafe(180) + "aA0",
        "input": f"the input {secrets.token_hex(8)}",
        "result": f"the result {secrets.token_hex(8)}",
        "password": f"pass/word@{secrets.token_hex(8)}",
    }
    with Sentry() as sentry:
        url = f"amqp://bridge:{secret['password']}@host/vhost"
        given = {**secret, "url": url, "dsn": sentry.dsn}
        ended = subprocess.run(
            [sys.executable, Path(__file__).with_name("bombs.py")],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "GIVEN": json.dumps(given),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        broken = json.loads(ended.stdout)
        assert len(broken) > 40
        assert {name for name, way in broken.items() if not way} == set(NOTHING_TO_BREAK)
        begin = "provoked.in."
        told = {e["logentry"]["message"].removeprefix(begin): e for e in sentry.events}
        assert set(told) == {name for name, way in broken.items() if way}
        for module, event in told.items():
            (error,) = event["exception"]["values"]
            assert error["type"] == "Provoked"
            assert module in {frame["module"] for frame in error["stacktrace"]["frames"]}
            assert event["tags"]["activity_type"] == module
            assert event["breadcrumbs"]["values"], "what was noted before is sent too"
        assert len(sentry.transactions) >= len(told)
        for name, value in secret.items():
            for text in (value, json.dumps(value)[1:-1], value.rpartition(" ")[2]):
                assert text not in sentry.text, f"the {name} was sent"
                assert text not in ended.stderr, f"the {name} was logged"
