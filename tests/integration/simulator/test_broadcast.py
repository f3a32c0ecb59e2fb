"""Apple's broadcast API on the wire: channels are managed, updates are taken, and what Apple refuses is refused."""

from typing import Any

import msgspec
import pytest

from tests.integration.simulator.client import PAYLOAD, Peer, Response
from tests.unit.simulator.credentials import TOPIC
from worker.simulator import Simulator

MANAGE = f"/1/apps/{TOPIC}"
PUBLISH = f"/4/broadcasts/apps/{TOPIC}"
ID = "5f1c3b2a-7d0e-4c64-9a3e-c4211107b311"


def policy(stored: int) -> bytes:
    return msgspec.json.encode({"message-storage-policy": stored, "push-type": "LiveActivity"})


async def manage(
    peer: Peer, method: str = "POST", body: bytes = b"", what: str = "channels", **more: str | None
) -> Response:
    fields: dict[str, Any] = {
        ":method": method,
        ":path": f"{MANAGE}/{what}",
        "apns_topic": None,
        "apns_push_type": None,
    } | more
    return await peer.answer(peer.send(peer.headers(**fields), body))


async def create(peer: Peer, stored: int = 0) -> str:
    made = await manage(peer, body=policy(stored))
    assert (made.status, made.body) == (201, b"")
    return made.headers["apns-channel-id"]


async def publish(peer: Peer, channel: str, payload: bytes = PAYLOAD, **more: str | None) -> Response:
    fields: dict[str, Any] = {
        ":path": PUBLISH,
        "apns_topic": None,
        "apns_push_type": "liveactivity",
        "apns_channel_id": channel,
        "apns_priority": "10",
        "apns_expiration": "0",
    }
    return await peer.answer(peer.send(peer.headers(**(fields | more)), payload))


def reason(response: Response) -> Any:
    return msgspec.json.decode(response.body)["reason"]


def test_a_channel_from_its_creation_to_its_end(settings, run):
    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            channel, kept = await create(peer), await create(peer, 1)
            listed = await manage(peer, "GET", what="all-channels")
            assert msgspec.json.decode(listed.body) == {"channels": [channel, kept]}
            read = await manage(peer, "GET", apns_channel_id=kept)
            assert (read.status, read.body) == (200, policy(1))
            sent = await publish(peer, channel, apns_request_id=ID)
            assert (sent.status, sent.headers["apns-request-id"]) == (200, ID)
            assert (await publish(peer, kept, apns_expiration="1900000000", apns_priority="5")).status == 200
            assert [(one.token, one.topic, one.expiration) for one in simulator.accepted] == [
                (channel, TOPIC, 0),
                (kept, TOPIC, 1_900_000_000),
            ], "the record is of updates"
            assert (await manage(peer, "DELETE", apns_channel_id=channel)).status == 204
            assert reason(await publish(peer, channel)) == "ChannelNotRegistered"
            assert reason(await manage(peer, "GET", apns_channel_id=channel)) == "ChannelNotRegistered"

    run(main())


@pytest.mark.parametrize(
    ("changes", "payload", "refusal"),
    [
        ({":method": "GET"}, PAYLOAD, "MethodNotAllowed"),
        ({":path": f"{PUBLISH}/more"}, PAYLOAD, "BadPath"),
        ({":path": f"{PUBLISH}.voip"}, PAYLOAD, "TopicDisallowed"),
        ({":path": "/4/broadcasts/apps/io.other"}, PAYLOAD, "TopicMismatch"),
        ({"authorization": None}, PAYLOAD, "MissingProviderToken"),
        ({"apns_channel_id": None}, PAYLOAD, "MissingChannelId"),
        ({"apns_channel_id": "?"}, PAYLOAD, "BadChannelId"),
        ({"apns_channel_id": "Z29uZQ=="}, PAYLOAD, "ChannelNotRegistered"),
        ({"apns_push_type": None}, PAYLOAD, "MissingPushType"),
        ({"apns_push_type": "alert"}, PAYLOAD, "InvalidPushType"),
        ({"apns_expiration": None}, PAYLOAD, "BadExpirationDate"),
        ({"apns_expiration": "1900000000"}, PAYLOAD, "BadExpirationDate"),
        ({"apns_priority": None}, PAYLOAD, "BadPriority"),
        ({"apns_request_id": "1"}, PAYLOAD, "BadMessageId"),
        ({}, b"", "PayloadEmpty"),
        ({}, b"x" * 5_121, "PayloadTooLarge"),
    ],
)
def test_an_update_that_apple_refuses(changes, payload, refusal, settings, run):
    async def main():
        async with Simulator(settings) as simulator, await Peer.open(simulator) as peer:
            channel = await create(peer)
            assert (await publish(peer, channel, b"x" * 5_120)).status == 200
            assert reason(await publish(peer, channel, payload, **changes)) == refusal

    run(main())


@pytest.mark.parametrize(
    ("body", "limits", "refusal"),
    [
        (b"{", {}, "BadRequestPayload"),
        (b'{"name": 1}', {}, "BadRequestParams"),
        (b'{"push-type": "LiveActivity"}', {}, "MissingChannelQueueSize"),
        (b'{"message-storage-policy": 2, "push-type": "LiveActivity"}', {}, "MissingChannelQueueSize"),
        (b'{"message-storage-policy": 1}', {}, "MissingPushType"),
        (b'{"message-storage-policy": 1, "push-type": "alert"}', {}, "InvalidPushType"),
        (policy(0), {"max_channels": 0}, "CannotCreateChannelConfig"),
        (policy(0), {"broadcasts": False}, "FeatureNotEnabled"),
    ],
)
def test_a_channel_that_apple_does_not_make(body, limits, refusal, settings, run):
    async def main():
        ours = msgspec.structs.replace(settings, **limits)
        async with Simulator(ours) as simulator, await Peer.open(simulator) as peer:
            assert reason(await manage(peer, body=body)) == refusal

    run(main())
