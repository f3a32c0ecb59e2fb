"""`carillon beat`."""


def beat() -> None:
    """Run beat, which sends the tick each second. One is enough; while it is away, workers tick by themselves."""
    from worker.cli._engines import tell_part
    from worker.process.celery_app import app, refuse_unusable
    from worker.process.host import disown_orphans

    tell_part(postgres=False)
    disown_orphans()
    refuse_unusable(keys=False)
    app.start(["--quiet", "beat"])
