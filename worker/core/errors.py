"""Everything that the worker raises of its own, from the core to the processes.

WorkerError               its text, or where it has none the first line of its docstring, is for a person
  UnfitError              an engine cannot be worked with: whoever runs it mends it
  HostError               likewise the host
  CredentialError         a stored credential cannot be decrypted: give the key that it was encrypted with
  LeaseLost               another process leads: this one starts over
  LeaseRunsOut            another worker may have the batch: this one leaves it
  Overtaken               another relay moves the rows: this one starts over
  BacklogError            the stream is full: the relay waits
  PageTooSlowError        a page of an audience took too long: a smaller one is tried
  UnreadableError         a batch is none that this release reads: another worker's may
  TooLargeError           there is more state than one look compares: look when less waits
ValueError
  EventError              of `producers/errors.py`
    Refused               an event does not fit what is configured: it is a dead letter, and its author gets an answer
  TemplateError           a template cannot be used: whoever stores it mends it
    NothingToSayError     it has no words for a message: another one, or none, is for it
  LeafError               likewise a string of one
  NotificationError       APNs would refuse a notification: a bug of ours
  DerError                a certificate's extension cannot be read: it is passed over
psycopg.OperationalError
  Unavailable             Postgres is away: the same call may work later

Kinds of provider, HTTP/2, engines of our own and commands have errors of their own, which each raises and catches in its folder.
"""


class WorkerError(Exception):
    """Base of these errors."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or "").partition("\n")[0]


class UnfitError(WorkerError):
    """A server, database or role that Carillon cannot work with, and that does not become another by waiting."""


class LeaseLost(WorkerError):
    """Another owner has the lease: nothing of the transaction was committed, and what began must end."""
