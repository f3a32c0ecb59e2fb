"""Numbers for Prometheus, of the shared state and of this process, and the HTTP addresses that probes ask."""
