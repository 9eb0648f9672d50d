"""What suites have shown, for other programs: JSON, and JUnit XML as CI servers read it. Pure."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Final

from agentops.guardrails.text import printable
from agentops.regression.statistics import Outcome
from agentops.regression.suites import CaseShown, Shown
from agentops.wire.parse import JSON, JSONObject, WireError, parse_json

FORMAT: Final = "agentops-regression"
VERSION: Final = 1


def report(shown: Sequence[Shown], release: str) -> JSONObject:
    """Return everything as one JSON object; `read_outcomes` takes it as a baseline later."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "release": release,
        "passed": all(one.passed for one in shown),
        "suites": [one.to_json() for one in shown],
    }


class BadReport(ValueError):
    """A file is no report of an earlier run."""


def read_outcomes(raw: bytes) -> tuple[str, Mapping[str, Mapping[str, Outcome]]]:
    """Read a report; return its release, and by suite the outcomes of its cases. Raises BadReport."""
    try:
        found = parse_json(raw, max_bytes=32 * 1024 * 1024)
        if not isinstance(found, dict) or (found.get("format"), found.get("version")) != (FORMAT, VERSION):
            raise BadReport(f"This is no report of version {VERSION}.")
        suites = found["suites"]
        assert isinstance(suites, list)
        return str(found["release"]), {str(_member(one, "suite")): _outcomes(_member(one, "results")) for one in suites}
    except WireError as error:
        raise BadReport(str(error)) from error
    except (KeyError, TypeError, AssertionError, ValueError) as error:
        raise BadReport(f"The report cannot be read ({type(error).__name__}).") from error


def junit(shown: Sequence[Shown]) -> str:
    """Return JUnit XML: a suite is a `testsuite`, a case a `testcase`; quarantined failures are skipped."""
    root = ET.Element("testsuites")
    for suite in shown:
        against = [one for one in suite.cases if one.counts_against]
        skipped = [one for one in suite.cases if not one.outcome.passed and one.outcome.quarantined]
        element = ET.SubElement(
            root,
            "testsuite",
            name=suite.planned.suite,
            tests=str(len(suite.cases)),
            failures=str(len(against)),
            errors="0",
            skipped=str(len(skipped)),
            time=_seconds(sum(one.duration_ms for one in suite.cases)),
        )
        for one in suite.cases:
            _case(element, suite.planned.suite, one)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(parent: ET.Element, suite: str, one: CaseShown) -> None:
    case = ET.SubElement(parent, "testcase", classname=suite, name=one.case.id, time=_seconds(one.duration_ms))
    if one.outcome.passed:
        return
    assert one.failing is not None
    told = f"{one.outcome.passes} of {one.outcome.trials} trials passed"
    if one.outcome.quarantined:
        ET.SubElement(case, "skipped", message=f"in quarantine; {told}")
        return
    problems = one.failing.problems
    failure = ET.SubElement(case, "failure", type=problems[0].code, message=f"{told}: {_clean(problems[0].message)}")
    failure.text = "\n".join(f"{problem.code}: {_clean(problem.message)}" for problem in problems)


def _clean(text: str) -> str:
    """Keep what XML 1.0 can carry."""
    return "".join(char if char not in "\ufffe\uffff" else "\ufffd" for char in printable(text))


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.3f}"


def _member(value: JSON, name: str) -> JSON:
    if not isinstance(value, dict):
        raise TypeError(name)
    return value[name]


def _outcomes(results: JSON) -> dict[str, Outcome]:
    if not isinstance(results, list):
        raise TypeError("results")
    found: dict[str, Outcome] = {}
    for one in results:
        passes, trials = _member(one, "passes"), _member(one, "trials")
        if type(passes) is not int or type(trials) is not int:
            raise TypeError("counts")
        found[str(_member(one, "id"))] = Outcome(passes, trials, _member(one, "quarantined") is True)
    return found
