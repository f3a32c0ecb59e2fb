"""The public path of the Celery app: `celery -A worker.app worker`."""

from worker.process.celery_app import app

__all__ = ["app"]
