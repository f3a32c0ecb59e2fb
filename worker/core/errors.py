"""All errors that the worker raises, from the core to the processes.

WorkerError               its text is for a person; without a text it is the first line of the docstring
  UnfitError              an engine cannot be used: its operator has to change it
  HostError               the host cannot be used: its operator has to change it
  CredentialError         a stored credential cannot be decrypted: give the key that it was encrypted with
  LeaseLost               another process leads: this one starts over
  LeaseRunsOut            another worker may have the batch: this one leaves it
  Overtaken               another relay moves the rows: this one starts over
  BacklogError            the stream is full: the relay waits
  PageTooSlowError        a page of an audience took too long: a smaller page is tried
  UnreadableError         this release cannot read a batch: a newer worker may
  TooMuchError            the ledger has too much to look through: an app or a shorter time is named
  RepartitionError        the partitions cannot be changed now: the operator does what it says
  TooLargeError           there is more state than one check compares: check when less waits
ValueError
  EventError              of `producers/errors.py`
    Refused               an event does not fit what is configured: it is a dead letter, and its author gets an answer
  TemplateError           a template cannot be used: its author has to change it
    NothingToSayError     it has no text for a message: another template, or none, applies
  LeafError               a string of a template cannot be used
  NotificationError       APNs would refuse a notification: a bug of ours
  DerError                a certificate's extension cannot be read: it is ignored
redis.ConnectionError
  HomeAwayError           the home of a spread app does not answer: what needs it is for later
  Replaced                another server has the data by now, and may not have all that was written
psycopg.OperationalError
  Unavailable             Postgres is away: the same call may work later

Provider kinds, HTTP/2, embedded engines and commands have their own errors. Each folder raises and catches its own.
"""


class WorkerError(Exception):
    """Base of these errors."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").partition("\n")[0]


class UnfitError(WorkerError):
    """A server, database or role that Carillon cannot work with, and that does not become another by waiting."""


class LeaseLost(WorkerError):
    """Another owner has the lease: nothing of the transaction was committed, and what began must end."""
