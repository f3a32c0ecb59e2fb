"""Links are whole, whatever is in them."""

from urllib.parse import parse_qs, urlsplit

from worker.dashboard.frame import Frame
from worker.dashboard.page import Page


def test_a_link_within_a_link_is_the_same_link() -> None:
    frame = Frame([Page("log", "/log/{app}", "Log")], [], {"style.css": "s", "live.js": "l"}, "", leave=True)
    inner = frame.url("log", app="a/b", user='&"<', outcome="held", reason=None)
    assert inner == "/log/a%2Fb?user=%26%22%3C&amp;outcome=held"
    outer = urlsplit(frame.url("log", app="x", back=inner).unescape())
    assert parse_qs(outer.query) == {"back": [inner.unescape()]}
