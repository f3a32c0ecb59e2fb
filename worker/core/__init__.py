"""Decisions: no I/O, no clock, no randomness, no logging. `now` is a number of seconds (or ms where named so)."""
