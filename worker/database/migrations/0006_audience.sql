-- Targeted pushes page through an app's devices by their id. Equality, "in" and "exists" over attributes use devices_attributes.

CREATE INDEX devices_audience ON carillon.devices (app, id) WHERE active;
