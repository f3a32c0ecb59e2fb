"""Batch runs for tests of single steps, and what the steps speak to."""

from typing import Any, Final, cast

from worker.core.batch import Batch, Job, Sending
from worker.core.batch_run import BatchRun
from worker.core.breaker import Stopped
from worker.core.model import AppSettings, Provider
from worker.pipeline.insist import Insist
from worker.providers.apns.settings import ApnsSettings, Key
from worker.state.breaker import Answers, FirstRefusal
from worker.state.homes import Homes

NOW = 1_800_000_000.0
#: All apps are at home.
NOWHERE: Final = Homes(cast("Any", None))


def sending(**fields: Any) -> Sending:
    given: dict[str, Any] = {"expires_at": int(NOW) + 3600, "channel": "general", "place": 5, "at": int(NOW)}
    return Sending(
        **{"entry": "1-1", "event_id": "e1", "prefix": "{", "suffix": "}", "collapse_id": "c"} | given | fields
    )


def job(device: int, **fields: Any) -> Job:
    given: dict[str, Any] = {"sending": 0, "user": f"u{device}", "token": "ab" * 32, "registered_at": 1}
    return Job(device=device, **(given | fields))


def new_run(
    *jobs: Job, app: AppSettings | None = None, sendings: list[Sending] | None = None, **fields: Any
) -> BatchRun:
    """Of the app `demo` and its provider 1, both found; of three devices where nothing else is said."""
    given = list(jobs) or [job(1), job(2), job(3)]
    batch = Batch("demo", 1, "urgent", sendings or [sending()], given, refused=fields.pop("refused", []))
    run = BatchRun("b1", batch, given, [None] * len(given), [one.badge for one in given], renewed_at=NOW, **fields)
    run.app = app or AppSettings("demo")
    run.provider = Provider(1, "demo", "apns", "production", ApnsSettings("io.carillon.demo", Key("T", "K")))
    return run


class _Fake:
    """Remembers what was called, as `(name, arguments)`, and answers from a table."""

    def __init__(self, **answers: Any) -> None:
        self.made: list[tuple[str, tuple[Any, ...]]] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            self.made.append((name, (*args, *named.values())))
            answer = self._answers.get(name)
            return answer(*args, **named) if callable(answer) else answer

        return call

    def names(self) -> list[str]:
        return [name for name, _ in self.made]


def fake(**answers: Any) -> Any:
    """Something that a step speaks to."""
    return _Fake(**answers)


def breaker(recent: Answers | None = None, **answers: Any) -> Any:
    """Which has these recent answers, of a provider that is well where nothing is said."""
    given = {
        "record": recent or Answers(1000, 0),
        "first_refusals": firsts(),
        "stop": True,
        "was_stopped_recently": False,
    }
    return fake(**given | answers)


def firsts(age: float = 0.0, *, proven: bool = False, worked: bool = False) -> Any:
    """Says the same of every refused device."""

    def of(_way: Any, refused: Any, **_proof: Any) -> list[FirstRefusal]:
        return [FirstRefusal(age, proven, worked) for _ in refused]

    return of


def insist() -> Insist:
    return Insist(lambda: NOW)


def stopped(reason: str = "mass_refusal", **fields: Any) -> Stopped:
    return Stopped(reason, NOW - 100, **fields)
