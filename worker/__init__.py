"""The worker: from a published event to every device that should ring.

1. `intake`    takes events off the stream in their order, applies what they say, opens the messages (`leader` runs it)
2. `fanout`    expands messages into batches of jobs by the rules in `core/rules`; `targeted` does it for queries over devices
3. `delivery`  sends a batch through `apns/` or `webhook/` and carries out what `core/outcome` decides about each answer
4. `tasks`     are the doorbells that Celery carries between them; `tick` sees to what is due
5. `stores/`   is Postgres and Redis; `runtime` is what one process holds of all this; `cli/` is the command line
"""

from worker.carillon_command import hidden

if (_fault := hidden()) is not None:
    raise ImportError(_fault)
