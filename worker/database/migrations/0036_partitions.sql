-- Each partition of Redis that has a tag has a leader of its own, and so a lease. One partition without a tag has 'intake'.
INSERT INTO carillon.lease (name) SELECT 'intake:' || n FROM generate_series(0, 255) AS n ON CONFLICT DO NOTHING;
