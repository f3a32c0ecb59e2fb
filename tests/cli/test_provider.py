"""`carillon provider`: a person's hand on the breaker."""


def test_a_provider_is_paused_shown_and_resumed(with_key):
    cli = with_key
    cli.ok("provider", "pause", "apns", "--app", "chat", "--reason", "new key")
    [row] = cli.json("provider", "list", "--app", "chat")
    assert (row["flows"], row["reason"], row["by_hand"]) == (False, "new key", True)
    assert "flows again" in cli.ok("provider", "resume", "apns", "--app", "chat")
    assert "flows" in cli.ok("provider", "list", "--app", "chat")
    assert "apns" in cli.refused("provider", "pause", "other", "--app", "chat")
