"""`carillon simulate`: run simulators of APNs, FCM and the push services of browsers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli._options import LARGEST_ID
from worker.cli._paths import existing_path, given_path

EPILOG = (
    "Example: carillon simulate --topic org.example.chat --share apns:Unregistered=0.02 --share fcm:UNREGISTERED=0.02 "
    "--latency 0.05, then point a sender at https://127.0.0.1:2197, trusting the CA whose path is printed."
)


#: The kinds, in the order in which they are started; the first that runs is meant where an option names none.
KINDS = ("apns", "fcm", "web")


def simulate(
    kind: Annotated[
        list[str] | None, typer.Option(help="apns, fcm or web; repeatable. Without any, all three, each on its port.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of APNs; 0 takes a free one.")] = 2197,
    fcm_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of FCM and its token endpoint; 0 takes a free one.")
    ] = 2198,
    web_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the browsers' push services; 0 takes a free one.")
    ] = 2199,
    control_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the HTTP control; 0 takes a free one.")
    ] = 0,
    control_host: Annotated[str, typer.Option(help="Address of the HTTP control.")] = "127.0.0.1",
    control_token_file: Annotated[
        Path | None,
        typer.Option(help="File with the control's token, instead of one made.", metavar="FILE", parser=existing_path),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="APNs: be the sandbox, which adds apns-unique-id.")
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="APNs: KEYID:TEAMID:path of a .p8 or public PEM; repeatable. Without any, every signer is trusted."
        ),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="APNs: a bundle id; repeatable. Without any, all are.")
    ] = None,
    account: Annotated[
        list[Path] | None,
        typer.Option(
            help="FCM: JSON of a service account; repeatable. Without any, every signer is trusted.",
            metavar="FILE",
            parser=existing_path,
        ),
    ] = None,
    project_minute: Annotated[
        int | None, typer.Option(min=0, max=10**9, help="FCM: messages of a project in a minute.")
    ] = None,
    device_minute: Annotated[
        int | None, typer.Option(min=0, max=10**9, help="FCM: messages to a device in a minute.")
    ] = None,
    device_hour: Annotated[
        int | None, typer.Option(min=0, max=10**9, help="FCM: messages to a device in an hour.")
    ] = None,
    decrypt_every: Annotated[
        int, typer.Option(min=0, max=10**9, help="Web: every n-th body is decrypted; 0: none.")
    ] = 1,
    share: Annotated[
        list[str] | None,
        typer.Option(help="[KIND:]REASON=PART answered so, e.g. fcm:UNREGISTERED=0.02; repeatable."),
    ] = None,
    latency: Annotated[str, typer.Option(help="Seconds until the answer: 0.05, or 0.02-0.08 uniform.")] = "0",
    script: Annotated[
        list[str] | None,
        typer.Option(
            help="[KIND:]FILE, a JSON script of rules, answers and faults; repeatable. oauth:FILE is for FCM's token endpoint.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_ID, help="Seed of shares, latency and the keys of browsers.")
    ] = 0,
    streams: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="APNs: concurrent streams after the first valid token.")
    ] = 1000,
    record: Annotated[str, typer.Option(help="full, compact or counters.")] = "full",
    record_limit: Annotated[int, typer.Option(min=1, max=10**9, help="Notifications kept in the record.")] = 1_000_000,
    record_megabytes: Annotated[
        int, typer.Option(min=1, max=10**6, help="Megabytes of payloads kept in the record.")
    ] = 256,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Server chain in PEM, instead of one made.", metavar="FILE", parser=existing_path),
    ] = None,
    certificate_key: Annotated[
        Path | None, typer.Option(help="Its key in PEM.", metavar="FILE", parser=existing_path)
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(help="CA of client certificates, to accept them.", metavar="FILE", parser=existing_path),
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option(
            help="Where the CA and certificate that are made stay from one start to the next.",
            metavar="DIR",
            parser=given_path,
        ),
    ] = None,
    strict_alpn: Annotated[
        bool,
        typer.Option(
            "--strict-alpn/--no-alpn", help="APNs: close connections that did not agree on h2 by ALPN; Apple does not."
        ),
    ] = False,
    name: Annotated[list[str] | None, typer.Option(help="Name or address in the made certificate; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it listens as one line of JSON.")] = False,
) -> None:
    """Run push services to test senders against: their rules, any answer and fault on demand, a record of what came in."""
    from worker.cli._ports import need_port
    from worker.simulator.process import run

    need_port(control_host, control_port, "--control-port")
    ports = {"apns": port, "fcm": fcm_port, "web": web_port}
    common: dict[str, Any] = {
        "host": host,
        "control_port": control_port,
        "control_host": control_host,
        "seed": seed,
        "record": record,
        "record_limit": record_limit,
        "record_octets": record_megabytes << 20,
        "certificate": certificate and str(certificate),
        "certificate_key": certificate_key and str(certificate_key),
        "directory": directory and str(directory),
    }
    own: dict[str, dict[str, Any]] = {
        "apns": {
            "environment": "sandbox" if sandbox else "production",
            "topics": topic or [],
            "max_streams": streams,
            "require_alpn": strict_alpn,
            "client_ca": client_ca and str(client_ca),
        },
        "fcm": {"project_minute": project_minute, "device_minute": device_minute, "device_hour": device_hour},
        "web": {"decrypt_every": decrypt_every},
    }
    try:
        kinds = _kinds(kind)
        if control_token_file is not None:
            common["control_token"] = _token(control_token_file)
        scripts = _scripts(kinds, script or [], share or [], latency)
        found = []
        for one in kinds:
            if ports[one]:
                need_port(host, ports[one], "--port" if one == "apns" else f"--{one}-port")
            options = common | own[one] | {"port": ports[one]}
            found.append(_settings(one, options, scripts, key or [], account or [], name or []))
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    run(found, as_json=as_json)


def _kinds(wanted: list[str] | None) -> list[str]:
    if unknown := set(wanted or ()) - set(KINDS):
        raise ValueError(f"--kind: {', '.join(KINDS)}, not {', '.join(sorted(unknown))}")
    return [kind for kind in KINDS if kind in (wanted or KINDS)]


def _settings(
    kind: str, options: dict[str, Any], scripts: dict[str, Any], keys: list[str], accounts: list[Path], names: list[str]
) -> Any:
    import msgspec

    from worker.simulator import FcmSettings, Key, Settings, WebSettings
    from worker.simulator.fcm.settings import Account
    from worker.simulator.web.settings import NAMES

    settings: Any = msgspec.convert(options, {"apns": Settings, "fcm": FcmSettings, "web": WebSettings}[kind])
    changes: dict[str, Any] = {"script": scripts[kind]}
    if kind == "apns":
        changes["keys"] = tuple(Key.read(text) for text in keys)
    elif kind == "fcm":
        changes |= {"accounts": tuple(Account.read(str(path)) for path in accounts), "oauth": scripts["oauth"]}
    if names:
        changes["names"] = (*names, *NAMES) if kind == "web" else tuple(names)
    return msgspec.structs.replace(settings, **changes)


def _token(path: Path) -> str:
    token = path.read_text().strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("--control-token-file: a token of 16 or more visible ASCII characters is needed")
    return token


def _scripts(kinds: list[str], files: list[str], shares: list[str], latency: str) -> dict[str, Any]:
    """By kind, and for `oauth`: the script of the file, with the shares and the latency of the command line added."""
    import msgspec

    from worker.simulator import Answer, Latency, Script, Share, read_script

    scripts = dict.fromkeys((*KINDS, "oauth"), Script())
    low, _, high = latency.partition("-")
    wait = Latency(float(low), float(high)) if high else float(low)
    for text in files:
        kind, path = _of_kind(text, kinds[0])
        scripts[kind] = read_script(Path(path).read_bytes())
    for text in shares:
        kind, rest = _of_kind(text, kinds[0])
        reason, _, part = rest.partition("=")
        added = (*scripts[kind].shares, Share(float(part), Answer(reason)))
        scripts[kind] = msgspec.structs.replace(scripts[kind], shares=added)
    for kind in kinds:
        scripts[kind] = msgspec.structs.replace(scripts[kind], latency=wait or scripts[kind].latency)
    return scripts


def _of_kind(text: str, first: str) -> tuple[str, str]:
    """The kind that the text begins with, or the first one, and the rest."""
    kind, colon, rest = text.partition(":")
    return (kind, rest) if colon and kind in (*KINDS, "oauth") else (first, text)
