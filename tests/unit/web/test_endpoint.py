"""Where a subscription may be. Whoever registers a browser chooses the URL."""

import pytest

from tests.unit.web.browser import APPLE, GOOGLE, MICROSOFT, MOZILLA
from worker.providers.web.endpoint import LONGEST, SERVICES, EndpointError, canonical, host_of


@pytest.mark.parametrize("endpoint", [GOOGLE, MOZILLA, APPLE, MICROSOFT])
def test_a_subscription_at_one_of_the_four_services_stays_as_it_is(endpoint):
    assert canonical(endpoint, SERVICES) == endpoint


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        pytest.param("HTTPS://FCM.GoogleAPIs.com/fcm/send/aB", "https://fcm.googleapis.com/fcm/send/aB", id="capitals"),
        pytest.param("https://fcm.googleapis.com:443/wp/a", "https://fcm.googleapis.com/wp/a", id="the port of https"),
        pytest.param("https://fcm.googleapis.com./wp/a", "https://fcm.googleapis.com/wp/a", id="a dot at the end"),
        pytest.param("https://ｆcm.googleapis.com/wp/a", "https://fcm.googleapis.com/wp/a", id="another f"),
        pytest.param(
            "https://web.push.apple.com/a%2Fb?c=%7e&d=+%20",
            "https://web.push.apple.com/a%2Fb?c=%7e&d=+%20",
            id="escapes",
        ),
    ],
)
def test_the_host_has_one_form_and_path_and_query_are_not_touched(given, stored):
    assert canonical(given, SERVICES) == stored
    assert canonical(stored, SERVICES) == stored


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        pytest.param("http://fcm.googleapis.com/a", "not an https URL", id="http"),
        pytest.param("fcm.googleapis.com/a", "not an https URL", id="no scheme"),
        pytest.param("https:///a", "not an https URL", id="no host"),
        pytest.param("https://[::1/a", "not a URL", id="half an address"),
        pytest.param("https://fcm.googleapis.com:99999/a", "not a URL", id="no port"),
        pytest.param("https://fcm.googleapis.com:8443/a", "another port", id="another port"),
        pytest.param("https://fcm.googleapis.com:0/a", "another port", id="port 0"),
        pytest.param("https://web.push.apple.com@127.0.0.1/a", "a user", id="a service as the user"),
        pytest.param("https://u:p@fcm.googleapis.com/a", "a user", id="a password"),
        pytest.param("https://fcm.googleapis.com/a#b", "a fragment", id="a fragment"),
        pytest.param("https://fcm.googleapis.com/a#", "a fragment", id="an empty fragment"),
        pytest.param("https://evil.test\\@fcm.googleapis.com/a", "a backslash", id="a backslash"),
        pytest.param("https://fcm.googleapis.com/a\nb", "a control character", id="a line's end"),
        pytest.param("https://fcm.googleapis.com/a b", "a blank", id="a blank"),
        pytest.param("https://127.0.0.1/a", "an address in place", id="an address"),
        pytest.param("https://[::1]/a", "an address in place", id="an address of IPv6"),
        pytest.param("https://0x7f000001/a", "an address in place", id="an address as hex"),
        pytest.param("https://2130706433/a", "an address in place", id="an address as a number"),
        pytest.param("https://127.1/a", "an address in place", id="a short address"),
        pytest.param("https://fcm.googleapis.com.evil.test/a", "no known push service", id="a service as a beginning"),
        pytest.param("https://evilfcm.googleapis.com/a", "no known push service", id="a service as an end"),
        pytest.param("https://evilnotify.windows.com/a", "no known push service", id="the end without its dot"),
        pytest.param("https://notify.windows.com/a", "no known push service", id="the end alone"),
        pytest.param("https://api.push.apple.com/a", "no known push service", id="where APNs is"),
        pytest.param("https://evil.test/fcm.googleapis.com/a", "no known push service", id="a service in the path"),
        pytest.param("https://localhost/a", "no known push service", id="this machine"),
        pytest.param("https://fcm%2egoogleapis.com/a", "no known push service", id="a dot as an escape"),
        pytest.param("https://permanently-removed.invalid/fcm/send/a", "cannot be notified", id="Edge on Android"),
        pytest.param("https://" + "a" * 64 + ".com/a", "no name", id="a long label"),
        pytest.param("https://fcm.googleapis.com", "cut off", id="no path"),
        pytest.param("https://fcm.googleapis.com/", "cut off", id="no path but a slash"),
        pytest.param("https://fcm.googleapis.com/fcm/send/ab…", "cut off", id="as a console shows it"),
        pytest.param("https://fcm.googleapis.com/fcm/send/ab...", "cut off", id="with three dots"),
        pytest.param("https://fcm.googleapis.com/ä", "beyond ASCII", id="a letter beyond ASCII"),
        pytest.param("https://fcm.googleapis.com/" + "a" * LONGEST, "at most 2,048", id="too long"),
    ],
)
def test_anything_else_is_refused_in_words_that_do_not_quote_it(endpoint, words):
    with pytest.raises(EndpointError, match=words) as refused:
        canonical(endpoint, SERVICES)
    assert endpoint not in str(refused.value)


def test_an_operator_adds_hosts_and_whole_families_of_them():
    hosts = (*SERVICES, "push.example.org", "*.up.example.org")
    for endpoint in ("https://push.example.org/UP?id=1", "https://a.up.example.org/b"):
        assert canonical(endpoint, hosts) == endpoint
    with pytest.raises(EndpointError, match="CARILLON_WEB_HOSTS"):
        canonical("https://a.push.example.org/b", hosts)


def test_the_host_of_an_endpoint_is_its_origin():
    assert host_of(MICROSOFT) == "wns2-par02p.notify.windows.com"
    assert host_of("no endpoint") == ""
