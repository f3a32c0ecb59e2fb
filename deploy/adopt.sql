-- For a database that was made before there were roles: everything in it becomes carillon_migrator's, and workers get their rights.
-- Run deploy/roles.sh first, then this as the superuser: psql --username carillon --dbname carillon --file adopt.sql
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT 'ALTER SCHEMA carillon OWNER TO carillon_migrator'
        UNION ALL
        SELECT format('ALTER TABLE %s OWNER TO carillon_migrator', oid::regclass)
        FROM pg_class WHERE relnamespace = 'carillon'::regnamespace AND relkind IN ('r', 'p', 'v')
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO carillon_migrator', oid::regprocedure)
        FROM pg_proc WHERE pronamespace = 'carillon'::regnamespace
    LOOP
        EXECUTE statement;
    END LOOP;
END
$$;
GRANT USAGE ON SCHEMA carillon TO carillon_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA carillon TO carillon_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA carillon TO carillon_worker;
