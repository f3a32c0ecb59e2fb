"""Sends requests over HTTP/2: one event loop thread in a process, and pooled connections. Knows no kind of provider."""
