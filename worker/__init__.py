"""The worker: from a published event to every device that should get a push.

1. `pipeline/intake`     takes events off the stream in their order, applies what they say, opens the messages
2. `pipeline/expansion`  makes messages into batches of jobs by the rules in `core/rules`; `targeted` does it for queries
3. `pipeline/delivery`   takes a batch through `steps/`: sends it, and carries out what `core/outcome` decides about each answer
4. `process/tasks`       are the wake-ups that Celery carries between them; `tick` sees to what is due
5. `database/` is Postgres, `state/` is Redis; `process/runtime` is what one process holds of all this; `cli/` is the command line
"""

from worker.carillon_command import hidden

if (_fault := hidden()) is not None:
    raise ImportError(_fault)
