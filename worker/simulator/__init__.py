"""Push services to test senders against: their rules, any answer and any fault on demand, a record of what came in.

`Settings` is an APNs, `FcmSettings` an FCM with its token endpoint, `WebSettings` the services of browsers.

In an event loop:

    async with Simulator(Settings(topics=("org.example.chat",))) as simulator:
        ...  # connect to simulator.host, simulator.port, trusting simulator.ca_pem
        await simulator.wait_accepted(10)
        assert [entry.token for entry in simulator.accepted] == [...]

In a thread, for synchronous code: `with SimulatorThread(Settings(...)) as simulator`, with the same names; any thread may call.

In a process: `with SimulatorProcess(Settings(...)) as simulator`; it has `host`, `port`, `ca_pem`, `ca_path`, and what it has
seen comes through `simulator.control` (`counts()`, `accepted()`, `set_script()` …). Settings and scripts are the same everywhere.

What it shall do, at the start (`Settings(script=…)`) or while it runs (`set_script`, `set_tokens`, `inflict`):

    Script(
        latency=Latency(low=0.02, high=0.08),
        tokens={"ab12": Answer("Unregistered", timestamp=1763700000000)},
        shares=(Share(0.02, Answer("Unregistered"), by="token"), Share(0.01, Answer("ServiceUnavailable"))),
        rules=(Rule(skip=500, count=1, fault=faults.GoAway(last_stream_id="middle", reason="Shutdown")),),
    )

`Settings(record="compact")` keeps token, id, status and time only, `record="counters"` nothing but counts: that is the fast one.
"""

from worker.simulator import faults
from worker.simulator.apns.entry import Entry
from worker.simulator.apns.provider_token import Key
from worker.simulator.apns.settings import Settings
from worker.simulator.fcm.settings import FcmSettings
from worker.simulator.process import ControlClient, SimulatorProcess
from worker.simulator.record import Record
from worker.simulator.script import Answer, Latency, Rule, Script, Share, read_script
from worker.simulator.simulator import Simulator
from worker.simulator.thread import SimulatorThread
from worker.simulator.web.settings import WebSettings

__all__ = [
    "Answer",
    "ControlClient",
    "Entry",
    "FcmSettings",
    "Key",
    "Latency",
    "Record",
    "Rule",
    "Script",
    "Settings",
    "Share",
    "Simulator",
    "SimulatorProcess",
    "SimulatorThread",
    "WebSettings",
    "faults",
    "read_script",
]
