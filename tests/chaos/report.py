"""A run's verdict as text for a terminal, as JSON, and as the table of docs/reliability.md."""

import json
from pathlib import Path
from typing import Any, Final

from tests.chaos.run import Found
from tests.chaos.verdict import NOT_MEASURED, Bar, Verdict

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
#: What stands between these lines is written by a run.
BEGIN, END = "<!-- run: begin -->", "<!-- run: end -->"


def as_json(found: Found, verdict: Verdict) -> str:
    options = found.options
    return json.dumps(
        {
            "seed": options.seed,
            "seconds": options.seconds,
            "redis": options.engine,
            "partitions": options.partitions,
            "spread": options.spread,
            "good": verdict.good,
            "bars": [bar._asdict() for bar in verdict.bars],
            "faults": {name: {"times": n, "consumed_again": again} for name, n, again in verdict.faults},
            "lost": found.account.lost[:20],
            "doubled": found.account.doubled[:20],
            **verdict.figures,
        },
        indent=1,
    )


def as_text(found: Found, verdict: Verdict) -> str:
    word = "good" if verdict.good else "NOT GOOD"
    lines = [
        f"seed {found.options.seed}, {found.options.seconds:.0f} s of faults, {_engine(found)}, {word}",
        "",
    ]
    lines += [f"  {_word(bar):<10}  {bar.name:<34} {bar.found:>14}   wanted {bar.wanted}" for bar in verdict.bars]
    lines += ["", found.machine, *(f"  {name:<34} {_plain(value)}" for name, value in verdict.figures.items())]
    lines += ["", *(f"  {name:<34} {n:>4} times  {_again(again)}" for name, n, again in verdict.faults)]
    return "\n".join(lines)


def _engine(found: Found) -> str:
    """How Redis was run."""
    partitions, engine = found.options.partitions, found.options.engine
    servers = {"single": "one server", "cluster": "a cluster", "sentinel": "Sentinels"}[engine]
    return f"{servers}, {partitions} partition{'s' if partitions > 1 else ''}{', one spread app' if found.options.spread else ''}"


def write(found: Found, verdict: Verdict, document: Path = DOCUMENT) -> None:
    """Replaces the last run in the document."""
    text = document.read_text()
    before, rest = text.split(BEGIN)
    document.write_text(f"{before}{BEGIN}\n\n{as_markdown(found, verdict)}\n{END}{rest.split(END)[1]}")


def as_markdown(found: Found, verdict: Verdict) -> str:
    options, figures, kills = found.options, verdict.figures, verdict.figures["kills"]
    repeated, most = figures["repeated_after_kill"], figures["most_repeated_after_one_kill"]
    grown = _plain(figures["memory_growth_mb_per_minute"]) or "none lived long enough"
    of_kills = ", ".join(f"{name} {n}" for name, n in sorted(kills.items())) or "none"
    head = (
        f"Seed {options.seed}, {options.seconds:.0f} seconds of faults, scale {options.scale:g}: {figures['messages']:,} messages"
        f" ({figures['through_outbox']:,} through the outbox), {figures['notifications']:,} notifications,"
        f" {sum(kills.values())} kills ({of_kills}). {found.machine}"
    )
    rows = {
        "sent again after a `kill -9`; most after one": f"{repeated}; {most}",
        "longest in flight at its kill": f"{figures['longest_in_flight_at_kill']} s",
        "sent again because a service had not answered": figures["repeated_unanswered"],
        "publish to accepted in calm times, p99; longest": f"{figures['late_p99']} s; {figures['late_max']} s",
        "direct messages p99, calm; in a blast": f"{figures['direct_p99_calm']} s; {figures['direct_p99_blast']} s",
        "median latency by kind, calm; beside another way's fault": _plain(figures["median_calm_and_beside"])
        or "not measured",
        "until every worker consumed again, median of so many": (
            f"{figures['returns_median']} s of {figures['returns_measured']}"
        ),
        "longer than that bar": "; ".join(figures["slow_to_return"]) or "none",
        "most memory, MB": _plain(figures["memory_mb"]),
        "growth of long-lived processes, MB a minute": grown,
        "workers that began again by themselves": figures["begun_again"],
    }
    lines = [head, "", "| promise | wanted | found | |", "|---|---|---|---|"]
    lines += [f"| {b.name} | {b.wanted} | {b.found} | {_word(b)} |" for b in verdict.bars]
    lines += ["", *_of_kinds(figures["by_kind"])]
    lines += ["", "| figure | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    lines += ["", "| fault | times | every worker consumed again within |", "|---|---|---|"]
    lines += [f"| {name} | {n} | {_again(again)} |" for name, n, again in verdict.faults]
    return "\n".join(lines) + "\n"


def _of_kinds(by_kind: dict[str, dict[str, int]]) -> list[str]:
    """A column for each kind of provider."""
    counted = next(iter(by_kind.values()))
    lines = [f"| notifications | {' | '.join(by_kind)} |", "|---" * (len(by_kind) + 1) + "|"]
    return lines + [
        f"| {name.replace('_', ' ')} | {' | '.join(f'{one[name]:,}' for one in by_kind.values())} |" for name in counted
    ]


def _word(bar: Bar) -> str:
    return "" if bar.found == NOT_MEASURED else "kept" if bar.kept else "**broken**"


def _plain(value: Any) -> str:
    return ", ".join(f"{key} {of}" for key, of in value.items()) if isinstance(value, dict) else str(value)


def _again(seconds: float | None) -> str:
    return "others came between" if seconds is None else f"{seconds:.1f} s"
