"""The dashboard for Grafana and the alert rules: made by their script, checked by promtool, and about metrics that there are."""

import json
import re
import runpy
import subprocess
from pathlib import Path
from typing import get_args

import yaml

from tests.programs import needs
from worker.metrics.families import FAMILIES
from worker.reports.conditions import Severity

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "config" / "monitoring"
RULES = [rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text())


def queries() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]


def test_the_dashboard_is_what_its_script_makes() -> None:
    script = runpy.run_path(str(MONITORING / "make_dashboard.py"))
    assert (MONITORING / "grafana.json").read_text() == script["made"]()


def test_promtool_takes_the_rules_and_their_own_tests_pass() -> None:
    promtool = needs("promtool")
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run([promtool, *command], cwd=MONITORING, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_of_its_own_and_a_section_of_the_runbook() -> None:
    tested = (MONITORING / "alerts_test.yml").read_text()
    headings = re.findall(r"^## (.*)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    for rule in RULES:
        assert f"alertname: {rule['alert']}" in tested
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/runbook.md"
        assert anchor in anchors, rule["alert"]
        assert rule["labels"]["severity"] in get_args(Severity)


def test_rules_and_panels_are_about_metrics_that_there_are() -> None:
    known = set(FAMILIES) | {f"{name}_bucket" for name, one in FAMILIES.items() if one.type == "histogram"}
    for query in [*queries(), *(rule["expr"] for rule in RULES)]:
        found = set(re.findall(r"carillon_\w+", query))
        assert found <= known, query
        assert found or "process_" in query or "up{" in query
