"""Gives Celery's connections to Redis the user and password that the operator's function gives ours."""

from config import credentials
from config.settings import get_settings
from producers.credentials import Provider


class BrokerCredentials(Provider):
    """Kombu makes one by this name, which stands in the broker's URL."""

    def __init__(self) -> None:
        settings = get_settings()
        url = settings.broker_url or settings.redis_url
        function = None if url is None else credentials.known(url)
        assert function is not None, "the broker's URL names this class only where there is a function"
        super().__init__(function)
