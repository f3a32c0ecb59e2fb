"""The server's half: bytes in, requests out; answers in, bytes out."""
