-- entry: what was published as it; nothing when it has left its stream.
return document_of(ARGV[1])
