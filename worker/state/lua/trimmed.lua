-- stream, entries: so many were taken off the stream before they were read.
note_trimmed(ARGV[1], tonumber(ARGV[2]))
return 1
