"""Redis: the client, every key, and the Lua scripts that change several of them in one step. Knows no Postgres."""
