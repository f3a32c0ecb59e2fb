"""Postgres: the pool, the schema and its migrations, and every statement. Knows no Redis."""
