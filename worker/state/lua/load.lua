-- How much waits to be taken, in both lanes.
-- Returns: {app, messages, batches} of each app that has anything.
-- Twice: changes nothing.
-- With: load
return load_now()
