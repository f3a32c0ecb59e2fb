"""The push services of the demo: a simulator of each kind, and a provider that belongs to it."""
