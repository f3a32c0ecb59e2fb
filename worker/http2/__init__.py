"""HTTP/2 (RFC 9113) for one shape of traffic: many small POSTs, small answers. Sans-I/O: bytes in, events out."""
