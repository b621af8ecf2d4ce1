"""`make install`, `make uninstall`: what stands where, and what an upgrade must not touch."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.systemd import staging
from tests.systemd.staging import ROOT

UNITS = "usr/local/lib/systemd/system"


def versions(environment: Path) -> set[str]:
    names = environment.glob("lib/python3*/site-packages/*.dist-info")
    return {name.name.removesuffix(".dist-info").lower().replace("_", "-") for name in names}


def test_the_environment_holds_what_is_locked_and_nothing_else(installed: Path) -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {line.split(" ")[0].replace("==", "-") for line in lock if "==" in line}
    found = versions(installed / "opt/swf-bridge")
    own = {each for each in found if each.startswith("swf-bridge-")}
    assert len(own) == 1
    assert found - own == {each.lower().replace("_", "-") for each in locked}
    commands = {path.name for path in (installed / "opt/swf-bridge/bin").iterdir()}
    assert {name for name in commands if not name.startswith("python")} == {"swf-bridge"}


def test_nothing_of_it_names_the_folder_in_which_it_was_made(installed: Path) -> None:
    found = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", str(installed), installed],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""


def test_it_tells_the_version_of_the_checkout_and_its_commit(installed: Path) -> None:
    python = installed / "opt/swf-bridge/bin/python"
    told = subprocess.run(
        [python, "-I", "-m", "bridge", "--version"], capture_output=True, text=True, check=True
    ).stdout
    version, revision = told.split()[1], told.split()[-1].rstrip(")")
    git = ["git", "-c", f"safe.directory={ROOT}", "rev-parse", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert commit.startswith(revision)
    assert version in versions_of(installed)


def versions_of(installed: Path) -> set[str]:
    own = [
        each for each in versions(installed / "opt/swf-bridge") if each.startswith("swf-bridge-")
    ]
    return {each.removeprefix("swf-bridge-") for each in own}


def test_the_first_settings_are_the_example_and_only_root_reads_them(installed: Path) -> None:
    settings = installed / "etc/swf-bridge/bridge.env"
    assert settings.read_text() == (ROOT / "config/bridge.env.example").read_text()
    assert settings.stat().st_mode & 0o777 == 0o600
    assert settings.parent.stat().st_mode & 0o777 == 0o700


def test_the_documents_stand_there_and_their_links_and_those_of_alerts_lead_somewhere(
    installed: Path,
) -> None:
    documents = installed / "opt/swf-bridge/share/doc/swf-bridge"
    links = {
        file.parent / link.partition("#")[0]
        for file in documents.rglob("*.md")
        for link in re.findall(r"\]\(([^)\s]+)\)", file.read_text())
        if not re.match(r"https?:|#", link)
    }
    assert len(links) > 15
    assert [str(link) for link in links if not link.exists()] == []
    rules = (documents / "config/alerts.yml").read_text()
    urls = set(re.findall(r"runbook_url: file://(\S+)#", rules))
    assert urls
    assert all((installed / url.lstrip("/")).is_file() for url in urls)
    assert not [*documents.rglob("node_modules")]


def test_a_finding_names_a_file_that_is_there(installed: Path) -> None:
    python = installed / "opt/swf-bridge/bin/python"
    module = "bridge.status.diagnosis.documents"
    ask = f"from {module} import more_about; print(more_about('SwfBridgeDown'))"
    told = subprocess.run(
        [python, "-I", "-c", ask], capture_output=True, text=True, check=True
    ).stdout
    file, _, alert = told.strip().partition(", ")
    assert Path(file).is_relative_to(installed)
    assert f"### {alert}\n" in Path(file).read_text()


def test_an_upgrade_replaces_environment_and_units_and_leaves_settings_and_journal(
    installed: Path,
) -> None:
    assert not (installed / staging.LEFT_BEHIND).exists()
    for unit in (ROOT / "systemd").glob("*.service"):
        assert (installed / UNITS / unit.name).read_text() == unit.read_text()
    for kept in (staging.SETTINGS, staging.JOURNAL):
        assert (installed / kept).read_text() == "ours"
        assert (installed / kept).stat().st_mode & 0o777 == 0o640


def test_installed_again_nothing_changes_and_nothing_is_built(installed: Path) -> None:
    settings = installed / "etc/swf-bridge/bridge.env"
    example = settings.read_text()
    settings.write_text("AWS_REGION=eu-west-1\n")
    before = (installed / "opt/swf-bridge").stat()
    staging.stage(installed)
    after = (installed / "opt/swf-bridge").stat()
    assert (after.st_ino, after.st_mtime) == (before.st_ino, before.st_mtime)
    assert settings.read_text() == "AWS_REGION=eu-west-1\n"
    settings.write_text(example)


def copied(installed: Path, folder: Path) -> Path:
    """What is installed, without most of the environment's packages."""

    def ignore(folder: str, names: list[str]) -> list[str]:
        return ["site-packages"] if folder.endswith("python3.11") else []

    return shutil.copytree(installed, folder, symlinks=True, dirs_exist_ok=True, ignore=ignore)


def test_units_command_and_manual_stand_where_they_are_wanted(
    installed: Path, tmp_path: Path
) -> None:
    places = {"UNITS": "/usr/lib/systemd/system", "COMMANDS": "/usr/bin", "SHARE": "/usr/share"}
    folder = copied(installed, tmp_path)
    shutil.rmtree(folder / "usr")
    done = staging.make("install", folder, **places)
    assert done.returncode == 0, done.stderr
    found = [path for path in (folder / "usr").rglob("*") if path.is_file()]
    files = {str(path.relative_to(folder)) for path in found}
    assert files == {
        "usr/lib/systemd/system/swf-bridge-peer@.service",
        "usr/lib/systemd/system/swf-bridge.service",
        "usr/lib/systemd/system/swf-bridge@.service",
        "usr/share/bash-completion/completions/swf-bridge",
        "usr/share/fish/vendor_completions.d/swf-bridge.fish",
        "usr/share/man/man1/swf-bridge.1",
        "usr/share/man/man5/swf-bridge.env.5",
        "usr/share/zsh/site-functions/_swf-bridge",
    }
    assert (folder / "usr/bin/swf-bridge").readlink() == Path("/opt/swf-bridge/bin/swf-bridge")
    assert staging.make("uninstall", folder, **places).returncode == 0
    assert not [path for path in (folder / "usr").rglob("*") if not path.is_dir()]
    assert staging.make("install", folder, UNITS="units").returncode != 0


def test_install_and_uninstall_say_what_they_do(installed: Path, tmp_path: Path) -> None:
    folder = copied(installed, tmp_path)
    told = staging.make("install", folder).stderr
    assert "/opt/swf-bridge is as it should be, and stays" in told
    assert "units in /usr/local/lib/systemd/system" in told
    told = staging.make("uninstall", folder).stderr
    assert "taking away /opt/swf-bridge, units, command, manual and completion" in told
    assert "/etc/swf-bridge and /var/lib/swf-bridge* stay" in told


def test_what_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "usr/local").mkdir(parents=True)
    for target in ("install", "uninstall"):
        done = staging.make(target, tmp_path, PREFIX="/usr/local")
        assert done.returncode != 0
        assert "it stays untouched" in done.stderr
    assert (tmp_path / "usr/local").is_dir()


def test_uninstalled_it_leaves_settings_and_journal_alone(installed: Path, tmp_path: Path) -> None:
    assert staging.make("uninstall", copied(installed, tmp_path)).returncode == 0
    left = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {"bridge.env", "bridge.env.example", "credentials.conf.example"}
    assert left == {Path("etc/swf-bridge") / name for name in kept} | {
        Path(staging.SETTINGS),
        Path(staging.JOURNAL),
    }
