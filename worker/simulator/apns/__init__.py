"""The APNs of the simulator: Apple's rules for one request and one connection."""
