-- stream, entries: so many entries left the stream without having been read.
return note_trimmed(ARGV[1], tonumber(ARGV[2]))
