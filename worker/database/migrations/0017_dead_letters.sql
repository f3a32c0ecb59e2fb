-- Dead letters are bounded: in size (of a document that could be no event only the beginning is kept), in number, and in time.

ALTER TABLE carillon.dead_letters
    -- Bytes of the document as it came, of which `document` is the whole or the beginning.
    ADD COLUMN size bigint;
UPDATE carillon.dead_letters SET size = octet_length(document);
UPDATE carillon.dead_letters SET document = substring(document FOR 1024) WHERE size > 1048576;
ALTER TABLE carillon.dead_letters ALTER COLUMN size SET NOT NULL;

CREATE INDEX dead_letters_by_app ON carillon.dead_letters (coalesce(app, ''), id DESC) INCLUDE (size);
CREATE INDEX dead_letters_by_time ON carillon.dead_letters (at);
