"""Alerts as a company declares them in YAML, once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from caudal.environment import Environment
from caudal.runtime.alerts.settings import LOG, Channel, Growth, Route, Settings
from caudal.runtime.company import declared_once

KINDS = ("run", "check", "late", "quarantine")


class ChannelDeclaration(dg.Model, dg.Resolvable):
    """Where the address of a channel is. An address is a secret, and never stands in a declaration.

    Attributes:
        name: by which routes name it.
        variable: the environment variable that holds it: an apprise URL such as `slack://...` or `mailto://...`, or the
            https:// address of a webhook, which is posted JSON.
        file: the file that holds it instead, such as a mounted secret; relative to the checkout.
        url: refused, with the reason.

    """

    name: str
    variable: str | None = None
    file: str | None = None
    url: str | None = None


class RouteDeclaration(dg.Model, dg.Resolvable):
    """Who is told about what belongs to whom.

    Attributes:
        owners: as assets declare them, such as `team:data-platform` or an e-mail address; `*` stands for any text.
        channels: names of channels.
        kinds: some of `run`, `check`, `late`, `quarantine`; all if there are none.

    """

    owners: Sequence[str]
    channels: Sequence[str]
    kinds: Sequence[str] = ()


class GrowthDeclaration(dg.Model, dg.Resolvable):
    """How much a quarantine may grow within the window without anybody being told.

    Attributes:
        dataset: `<source>/<name>`; every dataset that has none of its own if it is not given.
        rows, files: more than so many; a negative number switches it off.
        share: more than this part of the rows read meanwhile, 0 to 1.

    """

    dataset: str | None = None
    rows: int = 100
    files: int = 0
    share: float | None = None


class Alerts(dg.Component, dg.Model, dg.Resolvable):
    """Who is told, and how, when a run or check fails, an asset is late or a quarantine grows. Once a company.

    Attributes:
        channels: beside `log`, which is always there: what it is told stands in the log of the code server.
        routes: every one that fits is used.
        default: the channels of what no route fits.
        warnings: tell about failed checks of severity WARN too.
        remind_hours: after how long people are reminded of what goes on: the first time, the second, ...; the last one repeats.
            Of a failed run only if it has failed again.
        quarantine: how much quarantines may grow, of all datasets and of certain ones.
        window_hours: the time in which growth of a quarantine is measured.

    """

    channels: Sequence[ChannelDeclaration] = ()
    routes: Sequence[RouteDeclaration] = ()
    default: Sequence[str] = (LOG,)
    warnings: bool = False
    remind_hours: Sequence[float] = (4.0, 24.0)
    quarantine: Sequence[GrowthDeclaration] = ()
    window_hours: float = 24.0

    def settings(self, env: Environment) -> Settings:
        """The same, checked.

        Raises:
            ValueError: a channel holds an address, is incomplete or unknown, or a value is out of range.

        """
        channels = {LOG: Channel(LOG)} | {c.name: _channel(c.name, c, env.root) for c in self.channels}
        if len(channels) != len(self.channels) + 1:
            raise ValueError("alerts: two channels have the same name; give each its own")
        routes = tuple(Route(tuple(r.owners), tuple(r.channels), tuple(r.kinds)) for r in self.routes)
        for names in (self.default, *(route.channels for route in routes)):
            _refuse_unknown(names, channels)
        for kind in (kind for route in routes for kind in route.kinds):
            if kind not in KINDS:
                raise ValueError(f"alerts: a route has an unknown kind; expected some of: {', '.join(KINDS)}")
        if any(hours <= 0 for hours in (*self.remind_hours, self.window_hours)):
            raise ValueError("alerts: remind_hours and window_hours must be more than 0")
        return Settings(
            channels=channels,
            routes=routes,
            default=tuple(self.default),
            warnings=self.warnings,
            remind_hours=tuple(self.remind_hours),
            growth=next((_growth(g) for g in self.quarantine if g.dataset is None), Growth()),
            growth_of={g.dataset: _growth(g) for g in self.quarantine if g.dataset is not None},
            window_hours=self.window_hours,
            ui_url=env.ui_url,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The sensor is made where all assets of the company are known."""
        _ = self.settings(Environment.of_module(context.defs_module_name))
        return dg.Definitions()


def declared_alerts(tree: dg.ComponentTree) -> Alerts | None:
    """What the company declares, None if it does not.

    Raises:
        ValueError: it declares that twice.

    """
    return declared_once(tree, Alerts)


def settings_of(tree: dg.ComponentTree, env: Environment) -> Settings:
    """What the company declares, or that everything is told to the log, as in a branch's environment: it calls nobody."""
    declared = declared_alerts(tree) if env.branch is None else None
    return (declared or Alerts()).settings(env)


def _channel(name: str, declared: ChannelDeclaration, root: Path) -> Channel:
    """Errors here name the channel and never what was written, which may be a secret."""
    given = [value for value in (declared.variable, declared.file, declared.url) if value is not None]
    if declared.url is not None or any("://" in value for value in given):
        raise ValueError(
            f"alerts: channel `{name}` holds an address, which is a secret. Put it into an environment variable or a file, "
            "and declare only its name: `variable: MY_CHANNEL_URL` or `file: /run/secrets/my_channel_url`. "
            "If it was ever committed, have the service issue a new one"
        )
    if name == LOG or len(given) != 1:
        problem = "is always there and has no settings" if name == LOG else "needs either `variable` or `file`"
        raise ValueError(f"alerts: channel `{name}` {problem}")
    if declared.variable is not None and not declared.variable.isidentifier():
        raise ValueError(f"alerts: channel `{name}`: `variable` must be the name of an environment variable")
    return Channel(name, declared.variable, root / declared.file if declared.file is not None else None)


def _refuse_unknown(names: Sequence[str], channels: Mapping[str, Channel]) -> None:
    if not names:
        raise ValueError("alerts: a route, or `default`, names no channel; name one, such as `log`")
    for name in names:
        if name not in channels:
            raise ValueError(f"alerts: there is no channel `{name}`; declared are: {', '.join(sorted(channels))}")


def _growth(declared: GrowthDeclaration) -> Growth:
    if declared.share is not None and not 0 <= declared.share <= 1:
        raise ValueError(f"alerts: the share of a quarantine is {declared.share}; expected 0 to 1")
    return Growth(
        rows=declared.rows if declared.rows >= 0 else None,
        files=declared.files if declared.files >= 0 else None,
        share=declared.share,
    )
