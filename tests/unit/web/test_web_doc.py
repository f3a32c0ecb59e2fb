"""docs/web-push.md has the files of the page as they are, and every reason that a person may look for."""

from pathlib import Path

import pytest

from worker.providers.web import answers, outcome
from worker.providers.web.endpoint import SERVICES
from worker.providers.web.render import SILENT, UNTRANSLATED

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "web-push.md").read_text(encoding="utf-8")
FILES = ROOT / "worker" / "demo" / "web"


@pytest.mark.parametrize(
    ("name", "language"), [("app.js", "js"), ("sw.js", "js"), ("index.html", "html"), ("page.css", "css")]
)
def test_the_page_has_each_file_as_it_is(name: str, language: str) -> None:
    assert f"`{name}`:\n\n```{language}\n{(FILES / name).read_text(encoding='utf-8')}```\n" in PAGE


def test_every_reason_is_on_the_page() -> None:
    reasons = {
        *(reason for _, reason in answers._TEXTS),
        *answers._NUMBERS.values(),
        *answers._WNS.values(),
        *outcome._IDENTITY,
        *outcome.GUARDED,
        *(outcome.ORIGIN_THROTTLED, SILENT, UNTRANSLATED, "secret_unreadable"),
    }
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in PAGE] == []


@pytest.mark.parametrize("host", SERVICES)
def test_every_push_service_is_on_the_page(host: str) -> None:
    assert f"`{host}`" in PAGE


def test_the_page_runs_no_script_but_its_own_file() -> None:
    html = (FILES / "index.html").read_text(encoding="utf-8")
    assert html.count("<script") == html.count('<script src="app.js" defer></script>') == 1
    assert "style=" not in html and "onclick=" not in html and "unsafe-inline" not in html
