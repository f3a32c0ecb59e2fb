"""What a process of the fleet is: the Celery app and its tasks, the threads beside them, and what it holds of connections."""
