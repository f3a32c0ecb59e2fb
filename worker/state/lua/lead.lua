-- token: this leader leads; whoever has a lower token moves nothing any more. Returns 0 where another one has a higher.
return leads(ARGV[1]) and 1 or 0
