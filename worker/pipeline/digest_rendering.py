"""From what a user missed to rendered notifications: by the device's language, provider, and what may be read on the way."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from config.seldom import Seldom
from worker.core import digest_payload, notification
from worker.core.attention import Attention
from worker.core.batch import LEAVE, SHOW, Sending
from worker.core.digest import TOO_OLD, Digest
from worker.core.digest_payload import KIND
from worker.core.model import Device
from worker.core.notification import HEAD, Rendered
from worker.core.privacy import FULL, Disclosure, Sealable, limit_for, placeholder, sealable, with_inside
from worker.core.targeted import BADGE_LIFE
from worker.core.template_form import TemplateError
from worker.core.templates import NothingToSayError, Template, Templates
from worker.state.missed import DueBadge, DueDigest


class Names(NamedTuple):
    """Names of the digest's channels, '' for none."""

    #: Without the channels that ask to be named to no push service.
    open: Mapping[str, str]
    #: All that a seal may hold.
    all: Mapping[str, str]


log = logging.getLogger(__name__)
seldom = Seldom(log)


def sendings(
    due: DueDigest,
    digest: Digest,
    names: Names,
    devices: Sequence[Device],
    disclosures: Mapping[int, Disclosure],
    templates: Mapping[int, Templates],
    attention: Attention,
    now: float,
) -> Iterator[tuple[Sending, Sequence[Device]]]:
    """`disclosures`: by device, where not everything may be read."""
    groups: dict[tuple[Template | None, str | None, Disclosure], list[Device]] = {}
    for device in devices:
        of_provider = templates.get(device.provider_id)
        template = None if of_provider is None else of_provider.own(KIND, device.locale)
        groups.setdefault((template, device.locale, disclosures.get(device.id, FULL)), []).append(device)
    for (template, locale, disclosure), some in groups.items():
        if disclosure.form == "sealed":
            yield _sealed(due, digest, names.all, locale, template, disclosure, attention, now), some
        else:
            named = {} if disclosure.form == "id" else names.open
            yield _sending(due, digest, named, locale, template, now), some


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


def _sealed(
    due: DueDigest,
    digest: Digest,
    names: Mapping[str, str],
    locale: str | None,
    template: Template | None,
    disclosure: Disclosure,
    attention: Attention,
    now: float,
) -> Sending:
    """Outside is how many messages there are, inside the rest."""
    text = placeholder(attention.placeholder, locale, digest.messages)

    def made(limit: int | None = None) -> tuple[Sending, Sealable]:
        sending = _sending(due, digest, names, locale, template, now, limit)
        if sending.own:  # in the JSON of its provider's kind: nobody here knows which part of it says what
            sending = _sending(due, digest, names, locale, None, now, limit)
        return sending, sealable(Rendered(sending.prefix.encode(), sending.suffix.encode()), text, disclosure)

    sending, whole = made()
    if len(whole.inside) > whole.room:
        sending, whole = made(limit_for(whole))
    return with_inside(sending, whole, attention.pad)


def _sending(
    due: DueDigest,
    digest: Digest,
    names: Mapping[str, str],
    locale: str | None,
    template: Template | None,
    now: float,
    limit: int | None = None,
) -> Sending:
    """`limit`: octets, fewer than usual."""
    event, end = digest_payload.event_id(due.user, due.pending.end), due.pending.end
    rendered = None if template is None else _by_template(template, due, digest, names, locale, limit)
    badge = SHOW
    if rendered is not None and template is not None and not template.counted:
        badge = LEAVE if template.badge is None else template.badge
    if rendered is None:
        rendered = digest_payload.render(digest, names, event, end, locale, limit or digest_payload.LARGEST)
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
    template: Template, due: DueDigest, digest: Digest, names: Mapping[str, str], locale: str | None, limit: int | None
) -> Rendered | None:
    event = digest_payload.event_id(due.user, due.pending.end)
    context = digest_payload.context(digest, names, due.app, due.user, event, locale)
    try:
        return template.render(context, limit=limit).rendered
    except NothingToSayError:
        return None
    except TemplateError as fault:
        place = {"app": due.app, "kind": KIND, "locale": locale}
        seldom.warning("template failed, the default digest goes out: %s", fault, about=str(place), extra=place)
        return None
