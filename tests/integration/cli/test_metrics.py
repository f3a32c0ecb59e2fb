"""`carillon metrics`: once, or as a server."""

import socket

from prometheus_client.parser import text_string_to_metric_families


def test_it_prints_them_once(with_key):
    found = {family.name: family for family in text_string_to_metric_families(with_key.ok("metrics"))}
    [apps] = found["carillon_apps"].samples
    [providers] = found["carillon_providers"].samples
    assert (apps.value, providers.labels, providers.value) == (1, {"kind": "apns"}, 1)
    assert {sample.value for sample in found["carillon_scrape_part_up"].samples} == {1}


def test_a_port_that_is_taken_is_named(cli):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = cli.run("metrics", "--serve", "--port", port)
    assert done.exit_code == 1
    assert f"port {port} of 127.0.0.1 is in use" in done.stderr
