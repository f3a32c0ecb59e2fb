"""`carillon engines`."""

import signal

EPILOG = "Example: carillon engines   (in a Procfile, beside carillon worker, beat and flower)"


def engines() -> None:
    """Run the embedded engines until Ctrl-C, for parts that are started one by one. carillon up needs none of it.

    If CARILLON_REDIS_URL and CARILLON_POSTGRES_URL name others, there is nothing to run, and it only waits.
    """
    from config.settings import get_settings
    from worker import embedded
    from worker.cli._engines import tell
    from worker.cli._terminal import prose
    from worker.process.host import STOPS, Stop, on_stop

    stop, settings = Stop(), get_settings()
    on_stop(stop.heed, (*STOPS, signal.SIGINT))
    with embedded.engines(settings):
        tell(settings)
        prose("the engines run" if settings.embedded else "no engine to run: both are configured")
        stop.wait()
