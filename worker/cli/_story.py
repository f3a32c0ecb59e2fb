"""What became of one message, read from its parts in the ledger. Touches no store."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Parts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Story:
    """`rings` has the last outcome of each device of each user who rings, and the tries before it."""

    considered: int = 0
    #: Why nobody got it.
    whole: str | None = None
    #: user -> device id -> outcomes in their order, the final one last.
    rings: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    #: user -> reason
    skipped: dict[str, str] = field(default_factory=dict)
    #: reason -> members who were counted without a look at each.
    counted: Counter[str] = field(default_factory=Counter)

    def only(self, user: str) -> "Story":
        """The same with nobody but this user."""
        return Story(
            self.considered,
            self.whole,
            {user: self.rings[user]} if user in self.rings else {},
            {user: self.skipped[user]} if user in self.skipped else {},
            self.counted,
        )

    def by_reason(self) -> dict[str, list[str]]:
        """Who is skipped, by reason; the reason with most users first."""
        found: dict[str, list[str]] = {}
        for user, reason in self.skipped.items():
            found.setdefault(reason, []).append(user)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    def as_json(self) -> dict[str, Any]:
        """The story as JSON has it: device ids become strings."""
        rings = {user: {str(id): tries for id, tries in devices.items()} for user, devices in self.rings.items()}
        return {
            "considered": self.considered,
            "nobody": self.whole,
            "rings": rings,
            "skipped": self.skipped,
            "counted": dict(self.counted),
        }


def read(parts: Parts) -> Story:
    """The story that the ledger's parts of one event tell together: `page:<n>` and `batch:<id>`, see the schema."""
    pages = [account for part, account in parts.items() if part.startswith("page:")]
    batches = [account for part, account in parts.items() if part.startswith("batch:")]
    whole = next((str(page["message"]) for page in pages if "message" in page), None)
    story = Story(sum(page.get("considered", 0) for page in pages), whole)
    for page in pages:
        story.rings.update({user: {} for user in page.get("pushed", ())})
        story.counted.update(page.get("rest", {}))
        for reason, users in page.get("skipped", {}).items():
            story.skipped.update(dict.fromkeys(users, reason))
    for batch in batches:
        for outcome, devices in batch.items():
            for user, device in devices:
                story.rings.setdefault(user, {}).setdefault(device, []).append(outcome)
    for devices in story.rings.values():
        for outcomes in devices.values():
            outcomes.sort(key=_final)  # what the ledger took down together has no order of its own
    return story


def _final(outcome: str) -> bool:
    return outcome.partition(".")[0] in ("accepted", "retired", "dropped")


def told(outcomes: list[str]) -> str:
    """A device's outcomes in words."""
    if not outcomes:
        return "on its way"
    before, last = outcomes[:-1], outcomes[-1]
    kind, _, reason = last.partition(".")
    words = {
        "accepted": "accepted by APNs",
        "retired": f"refused by APNs ({reason}); the device is retired",
        "dropped": f"given up ({reason}); the device stays",
        "retry": f"refused for now ({reason}), will be tried again",
        "parked": f"waiting: its provider is stopped ({reason})",
    }.get(kind, last)
    causes = ", ".join(one.partition(".")[2] for one in before)
    return f"{words}, after {len(before)} earlier tries ({causes})" if before else words
