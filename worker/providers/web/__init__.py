"""Web Push: browsers, reached through the push services of their makers (RFC 8030, 8188, 8291, 8292)."""
