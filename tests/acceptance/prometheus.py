"""A private Prometheus that scrapes daemons and evaluates `config/alerts.yml`, hastened."""

import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.local.keeper import Keeper
from bridge.local.ports import free_ports
from tests.processes import until

RULES = Path(__file__).parents[2] / "config" / "alerts.yml"
SCRAPE = 0.5
"""Seconds between two scrapes, and between two evaluations."""

_UNITS = {"s": 1, "m": 60, "h": 3600}


def alerts() -> list[dict[str, Any]]:
    """The rules as they are shipped."""
    return [
        rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
    ]


def dashboard() -> dict[str, str]:
    """The queries of `config/dashboard.json` by panel, for every job and instance."""
    panels = json.loads(RULES.with_name("dashboard.json").read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", "1m")
        .replace("$job", ".+")
        .replace("$instance", ".+")
        for panel in panels
        for target in panel.get("targets", ())
    }


def hastened(rules: list[dict[str, Any]], factor: Mapping[str, float]) -> dict[str, Any]:
    """The same rules in a time that runs `factor[alert]` times as fast.

    That is the one thing in which the rules under test differ from those that are shipped: every
    span, of `for`, of a range, or to which an age is compared, is divided.
    """
    hasty = [_hastened(rule, factor.get(rule["alert"], factor[""])) for rule in rules]
    return {"groups": [{"name": "hastened", "rules": hasty}]}


def _hastened(rule: dict[str, Any], by: float) -> dict[str, Any]:
    expr = re.sub(r"(?<=\[)\d+[smh](?=\])", lambda span: _divided(span[0], by), rule["expr"])
    expr = re.sub(r"(?<=_seconds > )\d+", lambda age: str(int(age[0]) / by), expr)
    waits = {"for": _divided(rule["for"], by)} if "for" in rule else {}
    return {**rule, "expr": expr, **waits}


def _divided(span: str, by: float) -> str:
    return f"{round(int(span[:-1]) * _UNITS[span[-1]] * 1000 / by)}ms"


class Prometheus:
    """One server of Debian's package; `targets` are addresses by the name that `instance` gets."""

    def __init__(self, targets: Mapping[str, str], rules: Mapping[str, Any]) -> None:
        self._keeper = Keeper("prometheus-")
        (port,) = free_ports(1)
        self._api = f"http://127.0.0.1:{port}/api/v1"
        every = f"{SCRAPE * 1000:.0f}ms"
        config = {
            "global": {"scrape_interval": every, "scrape_timeout": every}
            | {"evaluation_interval": every},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [
                {
                    "job_name": "swf-bridge",
                    "static_configs": [
                        {"targets": [address], "labels": {"instance": name}}
                        for name, address in targets.items()
                    ],
                }
            ],
        }
        folder = self._keeper.folder
        (folder / "prometheus.yml").write_text(json.dumps(config))
        (folder / "alerts.yml").write_text(json.dumps(rules))
        self._keeper.spawn(
            [
                str(shutil.which("prometheus")),
                "--config.file=prometheus.yml",
                "--storage.tsdb.path=data",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
        )
        if not until(self._scrapes, 30):
            told = (folder / "output").read_text()
            self.end()
            raise AssertionError(f"Prometheus does not scrape:\n{told}")

    def end(self) -> None:
        self._keeper.end()

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(
            f"{self._api}/{path}?{urllib.parse.urlencode(query)}", timeout=20
        ) as answer:
            return json.load(answer)["data"]

    def fires(self, alert: str, **labels: str) -> bool:
        """Whether the alert fires now, with these labels."""
        return any(
            each["state"] == "firing"
            and {"alertname": alert, **labels}.items() <= each["labels"].items()
            for each in self.ask("alerts")["alerts"]
        )

    def words(self) -> list[str]:
        """What the alerts of now say to a person."""
        return [
            text for each in self.ask("alerts")["alerts"] for text in each["annotations"].values()
        ]

    def fired(self, **labels: str) -> list[dict[str, str]]:
        """The labels of all that ever fired, with these labels, whether it does now or not."""
        wanted = ",".join(f'{name}="{value}"' for name, value in labels.items())
        query = f'last_over_time(ALERTS{{alertstate="firing",{wanted}}}[1h])'
        return [each["metric"] for each in self.ask("query", query=query)["result"]]

    def value(self, query: str) -> float:
        """The one value of a query; 0 where there is none."""
        return sum(float(each["value"][1]) for each in self.ask("query", query=query)["result"])

    def _scrapes(self) -> bool:
        try:
            return self.value("count(up)") > 0
        except OSError:
            return False


def skip_without_prometheus() -> None:
    for tool in ("prometheus", "promtool"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} in PATH (package prometheus): `make test` installs it")
