-- The order in which the leader takes entries. It starts above every position that a release before recorded.
CREATE TABLE carillon.places (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    next bigint NOT NULL
);
INSERT INTO carillon.places (next) VALUES (4611686018427387904);

-- The entry under which a message was recorded; NULL for those of a release before, whose position tells it.
ALTER TABLE carillon.messages ADD COLUMN entry text COLLATE "C";

ALTER TABLE carillon.cursors
    -- Ids of the entries that the last transaction took, by blanks, and the place of the first: should its leader have died
    -- before they were handed on, the next one takes them again in their places.
    ADD COLUMN taken text NOT NULL DEFAULT '',
    ADD COLUMN first_place bigint NOT NULL DEFAULT 0,
    -- How many entries were ever added to the stream, up to the cursor; NULL: not known yet.
    ADD COLUMN read bigint;
