"""The client's half: requests in, bytes out; bytes in, outcomes out."""
