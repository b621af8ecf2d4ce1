"""Reports of a trial: text for people, JSON, and JUnit XML."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.conformance.checks import Check

PASSED, FAILED, SKIPPED, UNSEEN = "passed", "failed", "skipped", "unseen"
_MARKS = {PASSED: "✓", FAILED: "✗", SKIPPED: "–", UNSEEN: "?"}
_LEFT_OPEN = {SKIPPED: "not tried:", UNSEEN: "not seen:"}
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; `came` says what happened, and is empty where it passed."""

    check: Check
    mark: str
    came: str
    seconds: float


def line(finding: Finding) -> str:
    """One line for a passed check, else the reason and, where it failed, the contract below."""
    check = finding.check
    head = f"{_MARKS[finding.mark]} {check.name:<13}{check.expected}"
    if finding.mark == PASSED:
        return head
    if label := _LEFT_OPEN.get(finding.mark):
        return f"{head}\n{label:>14} {finding.came}"
    came = finding.came.replace("\n", "\n" + " " * 15)
    return f"{head}\n{'came:':>14} {came}\n{'contract:':>14} {check.contract}"


def total(findings: Sequence[Finding]) -> str:
    """The last line: the number of checks by outcome."""
    passed, failed, skipped, unseen = (
        sum(f.mark == mark for f in findings) for mark in (PASSED, FAILED, SKIPPED, UNSEEN)
    )
    told = f"conformance: {passed} passed, {failed} failed, {skipped} not tried"
    return f"{told}, {unseen} not seen" if unseen else told


def as_row(finding: Finding) -> dict[str, object]:
    """The finding as a JSON object."""
    return {
        "check": finding.check.name,
        "mark": finding.mark,
        "expected": finding.check.expected,
        "came": finding.came or None,
        "contract": finding.check.contract,
        "seconds": round(finding.seconds, 3),
    }


def write_junit(file: Path, findings: Sequence[Finding]) -> None:
    """Write a JUnit test suite with one case for each check. Raises OSError."""
    suite = ET.Element(
        "testsuite",
        name="swf-bridge conformance",
        tests=str(len(findings)),
        failures=str(sum(f.mark == FAILED for f in findings)),
        skipped=str(sum(f.mark in _LEFT_OPEN for f in findings)),
        time=f"{sum(f.seconds for f in findings):.3f}",
    )
    for each in findings:
        case = ET.SubElement(
            suite, "testcase",
            classname="conformance", name=each.check.name, time=f"{each.seconds:.3f}",
        )  # fmt: skip
        if each.mark == PASSED:
            continue
        came = _NOT_IN_XML.sub("�", each.came)
        kind = "failure" if each.mark == FAILED else "skipped"
        what = ET.SubElement(case, kind, message=came)
        expected = each.check.expected
        what.text = f"expected: {expected}\ncame: {came}\ncontract: {each.check.contract}"
    ET.ElementTree(suite).write(file, encoding="utf-8", xml_declaration=True)
