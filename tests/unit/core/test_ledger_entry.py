"""Accounts of several messages at once are those of each."""

from worker.core.ledger_entry import account, accounts


def test_accounts_are_the_same_together_as_one_by_one() -> None:
    odd = 'a\n\r\x0b\x85\u2028"b'
    contents = {odd: {"accepted": [(odd, 1), ("han", 2)]}, "e2": {}}
    assert accounts("demo\n", "batch:1", contents, 5, 2, 3) == [
        account("demo\n", event, "batch:1", content, 5, 2, 3) for event, content in contents.items()
    ]
    assert accounts("demo", "batch:1", {}) == []
