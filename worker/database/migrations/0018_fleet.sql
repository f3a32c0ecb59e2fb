-- Whom an app may push to, and whose database this is: a copy of it in another environment pushes to nobody.

ALTER TABLE carillon.apps ADD COLUMN only_to text[];

CREATE TABLE carillon.fleet (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- CARILLON_FLEET of the fleet that it belongs to.
    name text NOT NULL
);
