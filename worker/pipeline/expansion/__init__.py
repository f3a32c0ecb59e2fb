"""Expansion: from messages to batches of jobs, by stages of values that nothing changes any more.

admit -> read -> decide -> fold -> daily -> plan -> write. `fan_out.FanOut.expand` is the main path.
"""
