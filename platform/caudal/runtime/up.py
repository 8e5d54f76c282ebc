"""`caudal up`: the whole platform on this machine, until Ctrl-C or until all is materialized.

It starts the services, lands the quick-start data if asked to, shows how far each stage has come, and judges when it is done.
Whatever ends it, nothing that it started stays behind; whatever ended the one before, this one takes the work up again.
This process imports no Dagster: what it must know of it, a process of its own looks up (`observer`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from caudal.environment import Environment
from caudal.runtime import changes, report, services
from caudal.runtime.access import local_token
from caudal.runtime.interruption import Interrupted, signals_interrupt
from caudal.runtime.lock import AlreadyUp, only_one
from caudal.runtime.observer import CannotObserve, Watching
from caudal.runtime.progress import Judgement, Observation, State, judge, progress
from caudal.runtime.supervisor import Process, Service, ServiceFailed, Supervisor, last_lines
from caudal.runtime.warm.places import Places
from caudal.runtime.warm.workers import By

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130


@dataclass(frozen=True)
class Settings:
    """How the platform is run on this machine.

    Attributes:
        dagster_port, api_port: where to listen on loopback; if taken, the next free port, which is told.
        timeout_s: with `once`, how long everything may take altogether.
        ready_timeout_s: how long the services may take to answer.
        poll_s: seconds between two looks.
    """

    dagster_port: int = 3000
    api_port: int = 8765
    timeout_s: float = 3600.0
    ready_timeout_s: float = 180.0
    poll_s: float = 1.0


class CannotGoOn(RuntimeError):
    """Something failed that waiting does not mend. The message says what and where to look."""


def up(
    env: Environment,
    *,
    once: bool = False,
    quickstart: str | None = None,
    settings: Settings | None = None,
    console: Console | None = None,
) -> int:
    """Bring the platform up and keep it up; the exit code of the process.

    Args:
        once: end when there is nothing left to do, instead of serving until interrupted.
        quickstart: `module:function` to call with `env.home` before the first look at the lake, or None.

    Returns:
        0 if everything is materialized and every check passed, 130 if interrupted before that, 1 otherwise.
    """
    console = console or report.console()
    try:
        with only_one(env.dagster_home / "up.lock") as lock, signals_interrupt(), ExitStack() as ports:
            session = _Session(env, settings or Settings(), console, ports, once=once, quickstart=quickstart)
            lock.tell({"dagster": session.addresses.dagster, "api": session.addresses.api})
            return session.run()
    except (AlreadyUp, CannotGoOn, ServiceFailed, services.WorkspaceError) as problem:
        console.print(f"caudal up: {problem}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        return 1


@dataclass
class _Session:
    env: Environment
    settings: Settings
    console: Console
    ports: ExitStack
    once: bool
    quickstart: str | None
    addresses: services.Addresses = field(init=False)
    started_s: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        wanted = (self.settings.dagster_port, self.settings.api_port)
        self.addresses = services.Addresses(*(services.free_port(port, self.ports) for port in wanted))
        self.locations = services.code_locations(self.env.root / "workspace.yaml")
        self.places = Places(self.env.dagster_home)
        self.token: str | None = None
        self.reached: Judgement | None = None

    def run(self) -> int:
        services.prepare(self.env, self.locations)
        supervisor = Supervisor(
            self.env.dagster_home,
            self.env.logs,
            services.variables(self.env, {"CAUDAL_UI_URL": self.addresses.dagster, **os.environ}),
            self.env.root,
            nursery=self.places.nursery,
            on_death=self._say_death,
        )
        supervisor.before_the_end = lambda: self._end_runs(supervisor)
        view = report.view_for(self.console)
        try:
            with supervisor:
                try:
                    if self._start(supervisor):
                        self._follow(supervisor, view)
                    if not self.once:
                        self._serve(supervisor)
                    return 0 if self.complete else 1
                finally:
                    view.close()
                    self._say("Stopping")
        except Interrupted:
            return 0 if self.complete else INTERRUPTED
        finally:
            services.remove_sockets(self.env, self.locations)

    # Starting

    @property
    def complete(self) -> bool:
        return self.reached is not None and self.reached.state is State.COMPLETE

    def _start(self, supervisor: Supervisor) -> bool:
        """Start everything; whether the definitions could be loaded."""
        where = f" in the environment of {self.env.branch}, not in production" if self.env.branch else ""
        self._say(f"Starting Caudal{where}: code location, webserver, daemon, API")
        cut_off = [run for run in self.places.workers.claimed() if not self.places.workers.is_alive(run)]
        if cut_off:
            self._say(f"{len(cut_off)} runs were cut off when the platform was last stopped; they will be tried again")
        self.places.prepare()
        if self.env.access is not None:
            self.token = local_token.renew(self.env.dagster_home)  # others have to sign in
        supervisor.start_nursery(services.SHARED_MODULES)
        for location in self.locations:
            supervisor.start(services.code_server(self.env, location))
        supervisor.start(services.webserver(self.env, self.addresses))
        landing = self._land(supervisor)
        supervisor.start(services.api(self.env, self.addresses))
        self._wait_for_landing(supervisor, landing)
        supervisor.start(services.daemon(self.env))  # last: from here on runs start
        return self._wait_until_ready(supervisor)

    def _land(self, supervisor: Supervisor) -> Process | None:
        if self.quickstart is None:
            return None
        self._say("Landing the quick-start data in the lake")
        command = (sys.executable, "-m", "caudal.runtime.quickstart", self.quickstart, self.env.company)
        return supervisor.run(Service("quickstart", command))

    def _wait_for_landing(self, supervisor: Supervisor, landing: Process | None) -> None:
        if landing is None:
            return
        while landing.poll() is None:
            self._tick(supervisor)
        if landing.returncode != 0:
            log = self.env.logs / "quickstart.log"
            raise CannotGoOn(f"the quick-start data could not be landed. The end of {log}:\n{last_lines(log)}")

    def _wait_until_ready(self, supervisor: Supervisor) -> bool:
        deadline = time.time() + self.settings.ready_timeout_s
        loaded = None
        while loaded is None or not services.api_answers(self.addresses):
            if time.time() > deadline:
                raise CannotGoOn(
                    f"the services did not answer within {self.settings.ready_timeout_s:.0f} s; see the logs in {self.env.logs}"
                )
            self._tick(supervisor, 0.2)
            loaded = services.locations_loaded(self.addresses, self.token)
        broken = {name: problem for name, problem in loaded.items() if problem is not None}
        for name, problem in broken.items():
            self._say(f"Code location {name} cannot be loaded, and nothing of it can be done: {problem}", "bold red")
        if not broken:
            self._say(f"Ready after {time.time() - self.started_s:.1f} s")
            self._record_deployed(supervisor)
        self._say_addresses()
        return not broken

    # Going on

    def _follow(self, supervisor: Supervisor, view: report.View) -> None:
        """Watch until there is nothing left to do, or with `once` no time left, and tell how it ended."""
        watching = Watching.of(supervisor, self.env.company, self.started_s, self.settings.poll_s)
        seen = Observation()
        while True:
            self._tick(supervisor, 0.0)
            try:
                newest = watching.newest(self.settings.poll_s)
            except CannotObserve as problem:
                log = self.env.logs / "observer.log"
                raise CannotGoOn(f"{problem}. The end of {log}:\n{last_lines(log)}") from None
            seen = newest or seen
            verdict = judge(seen) if newest else Judgement(State.WORKING)
            view.update(progress(seen))
            late = self.once and time.time() - self.started_s > self.settings.timeout_s
            if verdict.state is not State.WORKING or late:
                break
        watching.stop()
        self.reached = verdict
        view.close()
        report.summary(self.console, progress(seen))
        self._say_verdict(verdict)

    def _serve(self, supervisor: Supervisor) -> None:
        """Keep everything running, and load definitions again when their files have changed and no run needs the old ones."""
        self._say("Serving until Ctrl-C")
        watches = {location: self._watch(location) for location in self.locations}
        stale: set[services.CodeLocation] = set()
        while True:
            self._tick(supervisor)
            stale |= {location for location, watch in watches.items() if watch.changed()}
            if stale and not self._given_to_code_servers():
                for location in stale:
                    supervisor.restart(services.code_server(self.env, location).name)
                    self._say(f"Definitions of {location.name} have changed; loading them again")
                stale.clear()
                self._record_deployed(supervisor)

    def _record_deployed(self, supervisor: Supervisor) -> None:
        """Have it written down what is deployed, for `caudal plan`. What cannot be loaded leaves the record of before."""
        companies = [location.module.partition(".")[0] for location in self.locations]
        supervisor.run(Service("deployed", (sys.executable, "-m", "caudal.runtime.plan.deployed", *companies)))

    def _watch(self, location: services.CodeLocation) -> changes.Watch:
        package = changes.package_folder(location.module)
        return changes.Watch(tuple(folder for folder in (package, self.env.root / "dbt") if folder is not None))

    def _given_to_code_servers(self) -> bool:
        """Whether a run goes on that would end with its code server; forked ones keep the definitions that they began with."""
        claims = [self.places.workers.look(run) for run in self.places.workers.claimed()]
        return any(claim is not None and claim.by is By.STOCK for claim in claims)

    def _tick(self, supervisor: Supervisor, seconds: float | None = None) -> None:
        supervisor.tend()
        time.sleep(self.settings.poll_s if seconds is None else seconds)

    # Ending

    def _end_runs(self, supervisor: Supervisor) -> None:
        """No run goes on without the platform: those that do are killed, and end as failed ones, to be tried again."""
        workers = self.places.workers
        going = [run for run in workers.claimed() if workers.send_signal(run, signal.SIGKILL) or workers.look(run) is not None]
        if going:
            ending = supervisor.run(Service("lost-runs", (sys.executable, "-m", "caudal.runtime.lost_runs")))
            try:
                ending.wait(30)
            except subprocess.TimeoutExpired:
                self._say("Runs that were going on are ended when the platform is started again", "bold red")

    # Saying

    def _say(self, text: str, style: str | None = None) -> None:
        try:
            self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        except OSError:  # the terminal is gone
            return

    def _say_death(self, service: Service) -> None:
        self._say(f"{service.name} has ended and is started again; see {self.env.logs / service.name}.log")

    def _say_addresses(self) -> None:
        for name, address, wanted in (
            ("Dagster", self.addresses.dagster, self.settings.dagster_port),
            ("API", f"{self.addresses.api}/docs", self.settings.api_port),
        ):
            moved = "" if f":{wanted}" in address else f" (port {wanted} is taken)"
            self._say(f"  {name:<8} {address}{moved}")

    def _say_verdict(self, verdict: Judgement) -> None:
        if verdict.state is State.COMPLETE:
            self._say("Everything is materialized, and every check passed", "bold green")
        elif verdict.state is State.WORKING:
            self._say(f"Not done after {self.settings.timeout_s:.0f} s, and still going on", "bold red")
        else:
            self._say("Not everything could be done:", "bold red")
            for problem, run_id in verdict.problems:
                where = f"\n    {self.addresses.dagster}/runs/{run_id}" if run_id else ""
                self._say(f"  {problem}{where}")
            self._say(f"  Logs: {self.env.logs}")
        if not self.once:
            self._say_addresses()
