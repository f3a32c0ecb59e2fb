"""The way of one message: intake, expansion, delivery, and what each of them needs. Takes engines and senders as arguments."""
