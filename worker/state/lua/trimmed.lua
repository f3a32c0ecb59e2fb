-- So many entries were taken off the stream before they were read.
-- ARGV: stream, entries: number
-- Returns: 1
-- Twice: counts twice.
-- With: trimmed
note_trimmed(stream, entries)
return 1
