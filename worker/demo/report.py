"""The account as a table for people."""

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.demo.account import Account
from worker.demo.figures import Figures, Latency
from worker.demo.show import Outcome

_REASONS = {
    "sender": "wrote it themselves",
    "not_a_member": "mentioned, but not in the channel",
    "not_in_thread": "a reply in a thread they take no part in",
    "muted_sender": "muted the sender",
    "online": "online: they see it on the screen",
    "no_device": "have no device",
    "over_member_cap": "beyond the 100 members that one message rings",
}
_MESSAGES = {
    "skip_push": "the message says skip_push",
    "too_old": "too old when it was published",
    "unknown_channel": "nobody ever joined its channel",
    "channel_push_off": "its channel is silent",
}


def show(console: Console, outcome: Outcome) -> None:
    console.print()
    console.print(_table(outcome.account, outcome.figures))
    console.print(_verdict(outcome))


def _table(account: Account, figures: Figures) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title="The account", title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", style="dim")

    def row(name: str, value: int | str, note: str = "", style: str = "") -> None:
        table.add_row(
            Text(name, style=style), Text(f"{value:,}" if isinstance(value, int) else value, style=style), note
        )

    row("messages", account.messages, style="bold")
    for reason, n in sorted(account.skipped_messages.items(), key=_by_number):
        row(f"  nobody: {reason}", n, _MESSAGES.get(reason, ""))
    row("members considered", account.considered, style="bold")
    for reason, n in sorted(account.skipped.items(), key=_by_number):
        row(f"  skipped: {reason}", n, _REASONS.get(reason, ""))
    row("pushes accepted by APNs", account.accepted, style="bold")
    row("  after a second try", sum(account.tried_again.values()), _listed(account.tried_again))
    row("devices retired", sum(account.retired.values()), _listed(account.retired))
    row("devices kept", account.kept, "refused as of a time before they were registered anew")
    table.add_section()
    for name, value, note in _faults(account):
        row(name, value, note, style="bold green" if not value else "bold red")
    table.add_section()
    for name, figure, note in _speed(figures):
        row(name, figure, note)
    return table


def _faults(account: Account) -> list[tuple[str, int, str]]:
    return [
        ("lost", account.lost, "must have rung and did not"),
        ("duplicates", account.duplicates, "rang twice for one message"),
        ("unexpected", account.unexpected, "rang and should not have"),
        ("wrong content", account.wrong_content, "another title, text or thread than was said"),
        ("counts that differ", len(account.uneven), f"of {len(account.checks)} that the workers keep"),
    ]


def _speed(figures: Figures) -> list[tuple[str, str, str]]:
    rows = []
    if figures.steady:
        rows.append(("latency at a pace", *_latency(figures.steady)))
    if figures.rate and figures.burst:
        rows.append(("throughput of the burst", f"{figures.rate:,.0f}/s", f"{figures.burst_pushes:,} pushes"))
        value, note = _latency(figures.burst)
        rows.append(("latency in the burst", value, f"{note}, the wait in the queue included"))
    return rows


def _latency(latency: Latency) -> tuple[str, str]:
    return f"{_time(latency.p50)} p50", f"{_time(latency.p99)} p99, from publish to arrival at APNs"


def _time(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds < 2000 else f"{milliseconds / 1000:,.1f} s"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=_by_number))


def _by_number(item: tuple[str, int]) -> int:
    return -item[1]


def _verdict(outcome: Outcome) -> RenderableType:
    account = outcome.account
    took = f"in {outcome.seconds:.0f} s"
    if account.balances:
        lines = [Text(f"The account balances, {took}. Every device that should ring rang, once.", style="bold green")]
    else:
        lines = [Text(f"The account does not balance, {took}.", style="bold red")]
        lines += [
            Text(f"  {check.name}: expected {check.expected:,}, counted {check.found:,}") for check in account.uneven
        ]
    if outcome.directory is not None:
        lines += [Text(), Text("Everything was kept. Look around:")]
        lines.append(Text(f"  export CARILLON_DATA_DIR={outcome.directory}"))
        lines += [
            Text(f"  carillon why {event} --app {outcome.app}    # {what}") for what, event in outcome.examples.items()
        ]
        lines.append(Text("  carillon dead-letters"))
    return Group(*lines)
