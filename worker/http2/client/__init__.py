"""The client's half: notifications in, bytes out; bytes in, outcomes out."""
