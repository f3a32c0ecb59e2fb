"""Pools as APNs has them."""

from typing import Any

from worker.providers.apns import answers
from worker.sender.pool import Pool
from worker.sender.transport import Endpoint


def apns_pool(endpoint: Endpoint, **options: Any) -> Pool:
    return Pool(endpoint, answers, **options)
