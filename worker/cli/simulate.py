"""`carillon simulate`: run the APNs simulator."""

from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli._options import LARGEST_ID
from worker.cli._paths import existing_path, given_path

EPILOG = (
    "Example: carillon simulate --port 2197 --topic org.example.chat --share Unregistered=0.02 --latency 0.05, "
    "then point a sender at https://127.0.0.1:2197, trusting the CA whose path is printed."
)


def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of APNs; 0 takes a free one.")] = 2197,
    control_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the HTTP control; 0 takes a free one.")
    ] = 0,
    control_host: Annotated[str, typer.Option(help="Address of the HTTP control.")] = "127.0.0.1",
    control_token_file: Annotated[
        Path | None,
        typer.Option(help="File with the control's token, instead of one made.", metavar="FILE", parser=existing_path),
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Be the sandbox: adds apns-unique-id.")] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="KEYID:TEAMID:path of a .p8 or public PEM; repeatable. Without any, every signer is trusted."
        ),
    ] = None,
    topic: Annotated[list[str] | None, typer.Option(help="Bundle id; repeatable. Without any, all are.")] = None,
    share: Annotated[list[str] | None, typer.Option(help="REASON=PART answered so, e.g. Unregistered=0.02.")] = None,
    latency: Annotated[str, typer.Option(help="Seconds until the answer: 0.05, or 0.02-0.08 uniform.")] = "0",
    script: Annotated[
        Path | None,
        typer.Option(help="JSON script of rules, answers and faults.", metavar="FILE", parser=existing_path),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_ID, help="Seed of shares and latency.")] = 0,
    streams: Annotated[
        int, typer.Option(min=1, max=2**31 - 1, help="Concurrent streams after the first valid token.")
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
            "--strict-alpn/--no-alpn", help="Close connections that did not agree on h2 by ALPN; Apple does not."
        ),
    ] = False,
    name: Annotated[list[str] | None, typer.Option(help="Name or address in the made certificate; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it listens as one line of JSON.")] = False,
) -> None:
    """Run an APNs to test senders against: Apple's rules, any answer and fault on demand, a record of what came in."""
    from worker.cli._ports import need_port
    from worker.simulator.process import run

    need_port(host, port)
    need_port(control_host, control_port, "--control-port")
    options: dict[str, Any] = {
        "host": host,
        "port": port,
        "control_port": control_port,
        "control_host": control_host,
        "environment": "sandbox" if sandbox else "production",
        "keys": key or [],
        "topics": topic or [],
        "max_streams": streams,
        "seed": seed,
        "record": record,
        "record_limit": record_limit,
        "record_octets": record_megabytes << 20,
        "require_alpn": strict_alpn,
        "certificate": certificate and str(certificate),
        "certificate_key": certificate_key and str(certificate_key),
        "client_ca": client_ca and str(client_ca),
        "directory": directory and str(directory),
    }
    if name:
        options["names"] = name
    try:
        if control_token_file is not None:
            options["control_token"] = _token(control_token_file)
        settings = _settings(options, _script(script, share or [], latency))
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    run([settings], as_json=as_json)


def _settings(options: dict[str, Any], script: Any) -> Any:
    import msgspec

    from worker.simulator import Key, Settings

    keys = tuple(Key.read(text) for text in options.pop("keys"))
    settings = msgspec.convert(options, Settings)
    return msgspec.structs.replace(settings, keys=keys, script=script)


def _token(path: Path) -> str:
    token = path.read_text().strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("--control-token-file: a token of 16 or more visible ASCII characters is needed")
    return token


def _script(path: Path | None, shares: list[str], latency: str) -> Any:
    """The script of the file, with the shares and the latency of the command line added."""
    import msgspec

    from worker.simulator import Answer, Latency, Script, Share, read_script

    script = read_script(path.read_bytes()) if path else Script()
    parsed = [text.partition("=") for text in shares]
    added = tuple(Share(float(part), Answer(reason)) for reason, _, part in parsed)
    low, _, high = latency.partition("-")
    wait = Latency(float(low), float(high)) if high else float(low)
    return msgspec.structs.replace(script, shares=script.shares + added, latency=wait or script.latency)
