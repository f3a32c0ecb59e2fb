-- This leader leads; whoever has a lower token moves and opens nothing any more.
-- ARGV: token
-- Returns: 1, or 0 where another one has a higher.
-- Twice: does nothing.
-- With: inlet
return leads(token) and 1 or 0
