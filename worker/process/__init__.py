"""One process of the fleet: the Celery app, its tasks, its background threads and its connections."""
