"""The push services of the simulator: Mozilla's, Google's, Microsoft's and Apple's (RFC 8030, 8291, 8292)."""
