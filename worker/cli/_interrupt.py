"""Recognises the effects of a Ctrl-C. It imports nothing, because it runs before the libraries."""


def interrupted(fault: BaseException | None) -> bool:
    """Whether it comes from a Ctrl-C: while a module is imported Python may wrap that in another exception."""
    while fault is not None:
        if isinstance(fault, KeyboardInterrupt):
            return True
        fault = fault.__cause__ or fault.__context__
    return False
