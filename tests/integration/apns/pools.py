"""Pools as APNs has them."""

import ssl
from typing import Any

from worker.providers.apns import answers
from worker.providers.apns.certificate import tls_context
from worker.providers.apns.form import FORM
from worker.sender.pool import Pool
from worker.sender.route import Access, Endpoint, Resolve
from worker.sender.timing import Timing


def apns_pool(
    endpoint: Endpoint,
    *,
    ssl_context: ssl.SSLContext | None = None,
    max_connections: int = 4,
    timing: Timing | None = None,
    resolve: Resolve | None = None,
    **options: Any,
) -> Pool:
    context = ssl_context or tls_context(ca=endpoint.ca)
    timing = timing or Timing()
    access = Access(endpoint, context, answers, FORM, timing, max_connections, resolve=resolve)
    return Pool(access, **options)
