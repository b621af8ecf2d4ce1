"""`check` and `config` as the service sees its settings: what they say is what the start does."""

import json
from collections.abc import Callable

import pytest

from bridge.local import LocalSwf
from tests.brokers import Vhost
from tests.systemd.service import Service, Settings
from tests.worker import Worker

WRONG = {
    "no region": ("AWS_REGION", "", "AWS_REGION"),
    "a CA file that only root reads": (
        "SWF_BRIDGE_AMQP_CA_FILE", "/etc/swf-bridge/ca.pem", "SWF_BRIDGE_AMQP_CA_FILE"
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def a_ca_file(service: Service) -> None:
    service.box.write("/etc/swf-bridge/ca.pem", "not looked at", 0o600)


@pytest.mark.parametrize("case", WRONG)
def test_what_keeps_the_service_from_starting_is_what_check_says(
    service: Service, settings: Settings, case: str
) -> None:
    name, value, told = WRONG[case]
    given = {
        k: v for k, v in settings(amqp_url="amqps://guest:guest@127.0.0.1:1/").items() if k != name
    }
    service.configure(given)
    with service.box.path(service.settings).open("a") as file:
        file.write(f"{name}={value}\n")
    service.start(fails=True)
    assert service.show("ExecMainStatus") == ("78",), service.log
    checked = service.box.run("swf-bridge", "check", "--service", check=False)
    assert (checked.returncode, told in checked.stdout + checked.stderr) == (78, True), checked


def test_settings_that_systemd_reads_otherwise_than_a_shell_are_read_as_systemd_does(
    service: Service, settings: Settings, vhost: Vhost
) -> None:
    given = dict(settings(amqp_url=vhost.url))
    del given["SWF_BRIDGE_TASK_LISTS"]
    service.configure(given)
    with service.box.path(service.settings).open("a") as file:
        file.write('SWF_BRIDGE_TASK_LISTS=["demo", {"name": "other", "pollers": 3}]\n')
    service.start()
    checked = service.box.run("swf-bridge", "check", "--service", check=False)
    assert checked.returncode == 0, checked
    assert "✓ task list demo/other: 3 pollers, 100 in flight" in checked.stdout


def test_credentials_and_the_journals_place_are_those_of_the_service(
    service: Service, settings: Settings, vhost: Vhost
) -> None:
    service.configure(settings())
    service.box.write("/etc/swf-bridge/amqp_url", f"{vhost.url}\n", 0o600)
    service.drop_in("[Service]\nLoadCredential=swf_bridge_amqp_url:/etc/swf-bridge/amqp_url\n")
    checked = service.box.run("swf-bridge", "check", "--connect", "--service", check=False)
    assert checked.returncode == 0, checked
    assert "✓ journal: /var/lib/swf-bridge/journal.db" in checked.stdout
    assert f"vhost {vhost.name}" in checked.stdout
    told = json.loads(service.box.run("swf-bridge", "config", "--json", "--service").stdout)
    assert told["SWF_BRIDGE_AMQP_URL"]["source"] == "credential: swf_bridge_amqp_url"
    service.box.run("rm", "/etc/swf-bridge/amqp_url")
    missing = service.box.run("swf-bridge", "check", "--service", check=False)
    assert missing.returncode == 78
    assert (
        "swf-bridge.service cannot be started by systemd: exit-code, exit code 243"
        in missing.stdout
    )


def test_a_check_beside_the_running_instance_disturbs_nothing_of_it(
    instance: Callable[[str], Service],
    settings: Settings,
    swf: LocalSwf,
    vhost: Vhost,
    worker: Worker,
) -> None:
    service = instance("blue")
    service.configure(settings(amqp_url=vhost.url))
    service.start()
    pid = service.pid
    checked = service.box.run("swf-bridge", "check", "--connect", "--instance", "blue", check=False)
    assert checked.returncode == 0, checked
    assert "queue swf.replies.blue: is there" in checked.stdout
    told = service.box.run("swf-bridge", "status", "--json", "--instance", "blue")
    assert str(json.loads(told.stdout)["pid"]) == pid
    swf.submit("greet")
    assert worker.take()
    assert service.pid == pid
    units = service.box.systemctl("list-units", "--all", "swf-bridge-check@*.service")
    assert "swf-bridge-check@blue.service" not in units
