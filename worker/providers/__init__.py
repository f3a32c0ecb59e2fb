"""The ways to a device, one folder each: what they send and how an answer is read. None knows another."""
