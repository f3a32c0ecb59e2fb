#!/bin/sh
# Postgres' roles, as docs/security.md has them. The image runs it once, when its volume is empty. psql quotes the passwords.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set migrator="${MIGRATOR_PASSWORD:?}" --set worker="${WORKER_PASSWORD:?}" \
    --set dashboard="${DASHBOARD_PASSWORD:?}" <<'SQL'
CREATE ROLE carillon_migrator LOGIN PASSWORD :'migrator';
CREATE ROLE carillon_worker LOGIN PASSWORD :'worker';
CREATE ROLE carillon_dashboard LOGIN PASSWORD :'dashboard';
GRANT CREATE ON DATABASE carillon TO carillon_migrator;
ALTER DEFAULT PRIVILEGES FOR ROLE carillon_migrator GRANT USAGE ON SCHEMAS TO carillon_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE carillon_migrator GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO carillon_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE carillon_migrator GRANT USAGE ON SEQUENCES TO carillon_worker;
SQL
