"""The wire to webhooks: HTTPS to a company's own API, guarded against being led to where it must not go."""
