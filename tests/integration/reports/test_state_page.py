"""docs/state.md has every table that the migrations make."""

import re
from pathlib import Path

import psycopg

PAGE = Path(__file__).parents[3] / "docs" / "state.md"


def test_every_table_has_its_growth_and_its_end(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as db:
        rows = db.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'carillon'::regnamespace AND relkind = 'r'"
        )
        tables = {re.sub(r"_\d{8}$", "_YYYYMMDD", name) for (name,) in rows.fetchall()}
    section = PAGE.read_text().partition("## Tables in Postgres")[2]
    named = set(re.findall(r"`(\w+)`", section))
    assert sorted(tables - named) == []
