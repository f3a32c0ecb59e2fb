"""What a process learns that is not the leader any more. Postgres and Redis find it out, each for itself."""


class LeaseLost(Exception):
    """Another owner has the lease: nothing of the transaction was committed, and what began must end."""
