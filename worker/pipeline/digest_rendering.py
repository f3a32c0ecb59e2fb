"""From what a user missed to rendered notifications: by the device's language, provider, and what may be read on the way."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence

from config.seldom import Seldom
from worker.core import digest_payload, notification
from worker.core.batch import LEAVE, SHOW, Sending
from worker.core.digest import TOO_OLD, Digest
from worker.core.digest_payload import KIND
from worker.core.model import Device
from worker.core.notification import HEAD, Rendered
from worker.core.targeted import BADGE_LIFE
from worker.core.template_form import TemplateError
from worker.core.templates import NothingToSayError, Template, Templates
from worker.state.missed import DueBadge, DueDigest

log = logging.getLogger(__name__)
seldom = Seldom(log)


def sendings(
    due: DueDigest,
    digest: Digest,
    names: Mapping[str, str],
    devices: Sequence[Device],
    private: Collection[int],
    templates: Mapping[int, Templates],
    now: float,
) -> Iterator[tuple[Sending, Sequence[Device]]]:
    """`names`: of the digest's channels, '' for none. `private`: devices that are shown numbers only."""
    groups: dict[tuple[Template | None, str | None, bool], list[Device]] = {}
    for device in devices:
        of_provider = templates.get(device.provider_id)
        template = None if of_provider is None else of_provider.own(KIND, device.locale)
        groups.setdefault((template, device.locale, device.id in private), []).append(device)
    for (template, locale, numbers_only), some in groups.items():
        yield _sending(due, digest, {} if numbers_only else names, locale, template, now), some


def badge_sending(due: DueBadge, now: float) -> Sending:
    """The number on the icon as it is when it goes out, without a sound."""
    return Sending(
        entry="",
        event_id=f"badge:{due.user}:{int(due.due)}",
        prefix=HEAD.decode(),
        suffix="}}",
        expires_at=int(now) + BADGE_LIFE,
        collapse_id=notification.collapse_id(due.app, f"badge:{due.user}"),
        priority=5,
        badge=SHOW,
        kind="badge",
        at=int(now),
    )


def _sending(
    due: DueDigest,
    digest: Digest,
    names: Mapping[str, str],
    locale: str | None,
    template: Template | None,
    now: float,
) -> Sending:
    event, end = digest_payload.event_id(due.user, due.pending.end), due.pending.end
    rendered = None if template is None else _by_template(template, due, digest, names, locale)
    badge = SHOW
    if rendered is not None and template is not None and not template.counted:
        badge = LEAVE if template.badge is None else template.badge
    if rendered is None:
        rendered = digest_payload.render(digest, names, event, end, locale)
    return Sending(
        entry="",
        event_id=event,
        prefix=rendered.prefix.decode(),
        suffix=rendered.suffix.decode(),
        expires_at=int(end) + TOO_OLD,
        collapse_id=notification.collapse_id(due.app, f"digest:{due.user}"),
        badge=badge,
        kind=KIND,
        at=int(now),
        own=rendered.own,
    )


def _by_template(
    template: Template, due: DueDigest, digest: Digest, names: Mapping[str, str], locale: str | None
) -> Rendered | None:
    event = digest_payload.event_id(due.user, due.pending.end)
    try:
        return template.render(digest_payload.context(digest, names, due.app, due.user, event, locale)).rendered
    except NothingToSayError:
        return None
    except TemplateError as fault:
        place = {"app": due.app, "kind": KIND, "locale": locale}
        seldom.warning("template failed, the default digest goes out: %s", fault, about=str(place), extra=place)
        return None
