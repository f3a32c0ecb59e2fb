-- What was published as this entry.
-- ARGV: entry
-- Returns: the document; nothing when it has left its stream.
-- Twice: changes nothing.
-- With: documents
return document_of(entry)
