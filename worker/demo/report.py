"""The account as a table for people."""

from collections import Counter
from collections.abc import Iterator, Mapping

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from worker.demo.account import Account, KindAccount
from worker.demo.figures import Figures, Latency
from worker.demo.services.apns import Apns
from worker.demo.services.fcm import Fcm
from worker.demo.services.web import Web
from worker.demo.show import Outcome
from worker.reports.reasons import MEMBERS, MESSAGES

#: Columns of the account, on whatever wider screen.
_WIDTH = 96
_NAMES = {service.kind: service.name for service in (Apns, Fcm, Web)}
_Row = tuple[str, str, str]
#: Name, a value for each kind, a note.
_KindRow = tuple[str, list[int], str]


def show(console: Console, outcome: Outcome) -> None:
    """Prints the account, its verdict, and where to look further."""
    width = min(_WIDTH, console.width)
    console.print()
    console.print(Rule("The account", align="left", style="dim"), width=width)
    for part in _parts(outcome):
        console.print(Padding(part, (0, 0, 1, 0)), width=width)
    console.print(_verdict(outcome))


def _parts(outcome: Outcome) -> Iterator[Table]:
    account = outcome.account
    yield _table(_traffic(outcome, account))
    yield _by_kind(account)
    yield _table(_others(account))
    yield _table(_speed(outcome.figures))


def _table(rows: Iterator[_Row] | tuple[()]) -> Table:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=28, no_wrap=True)
    table.add_column(width=9, justify="right", no_wrap=True)
    table.add_column(style="dim", ratio=1)
    for name, value, note in rows:
        style = "" if name.startswith(" ") else "bold"
        table.add_row(Text(name, style=style), Text(value, style=style), note)
    return table


def _traffic(outcome: Outcome, account: Account) -> Iterator[_Row]:
    yield "messages", f"{account.messages:,}", f"{outcome.repeated:,} published twice, counted once"
    yield "  edited later", f"{account.edits:,}", "each names one member more, and only that one is notified"
    for reason, n in _largest(account.skipped_messages):
        yield f"  nobody: {reason}", f"{n:,}", MESSAGES.get(reason, "")
    yield "members considered", f"{account.considered:,}", "for all messages together"
    yield "  who are notified", f"{account.notified:,}", "on all of their devices"
    yield "  who are decided again", f"{account.delayed:,}", "half a minute later: at a desktop when it came"
    for reason, n in _largest(account.skipped):
        yield f"  not: {reason}", f"{n:,}", MEMBERS.get(reason, "")


def _by_kind(account: Account) -> Table:
    """A column for each kind."""
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(width=28, no_wrap=True)
    for _ in account.kinds:
        table.add_column(width=9, justify="right", no_wrap=True)
    table.add_column(style="dim", ratio=1)
    kinds = list(account.kinds.values())
    table.add_row("", *(Text(_NAMES[kind], style="bold") for kind in account.kinds))
    for name, values, note in _kind_rows(kinds):
        style = "" if name.startswith(" ") else "bold"
        table.add_row(Text(name, style=style), *(Text(f"{value:,}", style=style) for value in values), note)
    table.add_row()
    for name, values, note in _faults(kinds):
        style = "bold red" if any(values) else "bold green"
        table.add_row(Text(name, style=style), *(Text(f"{value:,}", style=style) for value in values), note)
    return table


def _kind_rows(kinds: list[KindAccount]) -> Iterator[_KindRow]:
    yield "devices", [kind.devices for kind in kinds], ""
    yield "pushes expected", [kind.expected for kind in kinds], ""
    yield "pushes accepted", [kind.accepted for kind in kinds], ""
    yield "  at a second try", [sum(kind.tried_again.values()) for kind in kinds], "429, 500 or 503"
    yield "  refused twice", [kind.confirmed for kind in kinds], "to be sure that the token is dead"
    for reason in sorted({reason for kind in kinds for reason in kind.skipped}):
        yield f"  not: {reason}", [kind.skipped.get(reason, 0) for kind in kinds], ""
    yield "devices retired", [sum(kind.retired.values()) for kind in kinds], ""
    for reason, _ in _largest(sum((Counter(kind.retired) for kind in kinds), Counter())):
        yield f"  {reason}", [kind.retired.get(reason, 0) for kind in kinds], ""
    yield "devices kept", [kind.kept for kind in kinds], "registered anew"


def _faults(kinds: list[KindAccount]) -> Iterator[_KindRow]:
    yield "lost", [kind.lost for kind in kinds], "did not arrive"
    yield "duplicates", [kind.duplicates for kind in kinds], "arrived twice"
    yield "unexpected", [kind.unexpected for kind in kinds], "should not arrive"
    yield "wrong content", [kind.wrong_content for kind in kinds], "not what was said"


def _others(account: Account) -> Iterator[_Row]:
    yield "differences", f"{len(account.uneven):,}", f"in {len(account.checks)} sums, ours and the workers'"
    yield "dead-lettered documents", f"{account.dead_letters:,}", "bad ones, listed by: dead-letters"


def _speed(figures: Figures) -> Iterator[_Row]:
    if figures.steady:
        yield "latency at a pace", f"{_time(figures.steady.p50)}", _latency(figures.steady)
    if figures.rate and figures.burst:
        yield (
            "throughput of the burst",
            f"{figures.rate:,.0f}/s",
            f"{figures.burst_pushes:,} pushes, first to last",
        )
        yield "  latency in it, with queue", f"{_time(figures.burst.p50)}", _latency(figures.burst)


def _latency(latency: Latency) -> str:
    return f"p50, {_time(latency.p99)} p99, to arrival"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds < 2000 else f"{milliseconds / 1000:,.1f} s"


def _largest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _verdict(outcome: Outcome) -> RenderableType:
    account, took = outcome.account, f"{outcome.seconds:.0f} s from start to end"
    lines = []
    if account.balances:
        lines.append(Text("The account balances: every device that should get a push got it once.", style="bold green"))
    else:
        lines.append(Text("The account does not balance.", style="bold red"))
        lines += [Text(f"  {one.name}: expected {one.expected:,}, counted {one.found:,}") for one in account.uneven]
    lines.append(Text(f"Everything is stopped. It took {took}.", style="dim"))
    if outcome.directory is not None:
        lines += [Text(), Text("Look around in what was kept:")]
        lines.append(Text(f"  export CARILLON_DATA_DIR={outcome.directory}"))
        for what, event in outcome.examples.items():
            lines.append(Text(f"  carillon why {event} --app {outcome.app}   # {what}"))
        lines.append(Text("  carillon dead-letters"))
    return Group(*lines)
