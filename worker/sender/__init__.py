"""The way out of a process over HTTP/2: one event loop thread, pooled connections. Knows no kind of provider."""
