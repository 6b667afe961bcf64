"""What guards a release: pinned workflows, the check before a tag, the floors that are tested."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from release.lowest import lowest
from release.ready import faults

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w.-]+(?:/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def _workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    uses = re.findall(r"\buses:\s*(.+)", path.read_text())
    assert uses
    assert [each for each in uses if not PINNED.fullmatch(each.strip())] == []


def test_an_action_has_one_commit_in_all_workflows() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    uses = set(re.findall(r"\buses: ([\w.-]+/[\w.-]+)\S*@(\S+ # \S+)", text))
    assert len(uses) == len({name for name, _ in uses})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_job_may_do_only_what_it_says(path: Path) -> None:
    workflow = _workflow(path.name)
    assert workflow["permissions"] == {}
    assert all("permissions" in job for job in workflow["jobs"].values())
    checkouts = [
        step
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "actions/checkout" in step.get("uses", "")
    ]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_only_the_publishing_job_can_publish_and_it_runs_no_code_of_ours() -> None:
    jobs = _workflow("release.yml")["jobs"]
    assert [name for name in jobs if "id-token" in jobs[name]["permissions"]] == ["publish"]
    publish = jobs["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["environment"] == "pypi"
    assert [step for step in publish["steps"] if "run" in step] == []


def test_what_is_published_is_built_where_nothing_but_the_builder_is_installed() -> None:
    jobs = _workflow("release.yml")["jobs"]
    assert [step["run"] for step in jobs["build"]["steps"] if "run" in step] == [
        'python release/ready.py "$GITHUB_REF_NAME"',
        "python -m pip install --constraint constraints.txt build",
        "python -m build --outdir dist",
    ]
    given = {
        (name, step["with"]["name"])
        for name in jobs
        for step in jobs[name]["steps"]
        if "actions/upload-artifact" in step.get("uses", "")
    }
    assert given == {("build", "dist"), ("check", "sbom")}
    assert jobs["publish"]["needs"] == ["build", "check"]


def test_what_runs_on_a_pull_request_may_write_nothing_but_findings() -> None:
    for path in WORKFLOWS:
        workflow = _workflow(path.name)
        if "pull_request" not in workflow[True]:  # YAML 1.1: `on` is a boolean
            continue
        for job in workflow["jobs"].values():
            written = {name for name, level in job["permissions"].items() if level == "write"}
            assert written <= {"security-events"}


INIT = '"""Docstring."""\n\n__version__ = "1.2.3"\n'
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-12-01\n\n### Added\n\n- A.\n"
PYPROJECT = """
[project]
urls = {Source = "https://a.example", Documentation = "https://b.example", Changelog = "https://c.example"}
"""


def test_a_version_that_tag_and_changelog_agree_on_is_ready() -> None:
    assert faults("v1.2.3", INIT, CHANGELOG, PYPROJECT) == []


@pytest.mark.parametrize(
    ("pyproject", "named"),
    [
        ("[project]\n", "lacks Changelog, Documentation, Source"),
        (PYPROJECT.replace("Source", "Home"), "lacks Source"),
    ],
)
def test_a_package_that_does_not_say_where_its_source_is_is_not_ready(
    pyproject: str, named: str
) -> None:
    assert named in " ".join(faults("v1.2.3", INIT, CHANGELOG, pyproject))


@pytest.mark.parametrize(
    ("tag", "changelog", "named"),
    [
        ("v1.2.4", CHANGELOG, "not the package's version"),
        ("1.2.3", CHANGELOG, "not the package's version"),
        ("v1.2.3", CHANGELOG.replace("[1.2.3]", "[1.2.2]"), "not [1.2.3]"),
        ("v1.2.3", CHANGELOG.replace(" - 2026-12-01", ""), "with its date"),
        ("v1.2.3", "# Changelog\n\n## [Unreleased]\n", "not [1.2.3]"),
        ("v1.2.3", CHANGELOG.replace("## [1", "### Fixed\n\n- B.\n\n## [1"), "empty section"),
        ("v1.2.3", CHANGELOG.replace("## [Unreleased]\n\n", ""), "empty section"),
        ("v1.2.3", "", "empty section"),
    ],
)
def test_what_does_not_agree_is_named(tag: str, changelog: str, named: str) -> None:
    assert named in " ".join(faults(tag, INIT, changelog, PYPROJECT))


def test_floors_are_those_of_dependencies_and_extras() -> None:
    project = {
        "name": "p",
        "dependencies": ["a>=1.2,<2", "b[c]>=3"],
        "optional-dependencies": {"x": ["d>=0.1", "a>=1.2,<2"], "all": ["p[x]"]},
    }
    assert lowest(project) == {"a": "1.2", "b": "3", "d": "0.1"}


@pytest.mark.parametrize("promise", ["e", "e<2", "e==1", "e>1", "a>=1.1"])
def test_a_promise_without_a_floor_of_its_own_is_an_error(promise: str) -> None:
    project = {
        "name": "p",
        "dependencies": ["a>=1.2"],
        "optional-dependencies": {"x": [promise]},
    }
    with pytest.raises(ValueError, match=r"floor"):
        lowest(project)
