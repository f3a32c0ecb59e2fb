-- `carillon user forget`: the audit log keeps that somebody did something, without the user to whom it was done.

-- Replaces a user's id in an app's rows of the audit log; returns in how many. It changes no act and no person who did it. Whoever
-- may delete devices may call it.
CREATE FUNCTION carillon.forget_in_audit(of_app text, of_user text, put text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    escaped text := regexp_replace(of_user, '([^[:alnum:]])', '\\\1', 'g');
    -- As jsonb is written; a colon follows a key.
    quoted text := regexp_replace(to_jsonb(of_user)::text, '([^[:alnum:]])', '\\\1', 'g') || '(?!:)';
    word text := '(^|[^[:alnum:]_])' || escaped || '(?![[:alnum:]_])';
    changed integer;
BEGIN
    IF NOT has_table_privilege(session_user, 'carillon.devices', 'DELETE') THEN
        RAISE insufficient_privilege USING MESSAGE = 'whoever may not delete devices may forget no user';
    END IF;
    UPDATE carillon.audit SET
        target = CASE target WHEN of_user THEN put ELSE target END,
        detail = regexp_replace(detail::text, quoted, to_jsonb(put)::text, 'g')::jsonb,
        note = regexp_replace(note, word, '\1' || put, 'g')
    WHERE app = of_app AND (target = of_user OR detail::text ~ quoted OR note ~ word);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END $$;
