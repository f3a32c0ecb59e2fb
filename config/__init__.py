"""Settings, secrets, Celery's configuration and logging. Imports nothing of ours."""
