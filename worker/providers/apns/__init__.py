"""The wire to APNs: HTTP/2 with pooled connections, provider tokens and certificates."""
