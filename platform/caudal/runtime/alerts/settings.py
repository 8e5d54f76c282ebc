"""What a company declares about its alerts: channels, who is told what, and how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from caudal.environment import secret

#: The channel that is always there.
LOG = "log"
#: Below Dagster's logger, so that what is said has a time and goes where the code server's own log goes.
LOGGER = "dagster.caudal.alerts"


@dataclass(frozen=True)
class Channel:
    """A way to people. Without variable and file it is the log.

    Attributes:
        variable: the environment variable that holds the address, as apprise understands it.
        file: the file that holds it instead.
    """

    name: str
    variable: str | None = None
    file: Path | None = None

    @property
    def is_log(self) -> bool:
        return self.variable is None and self.file is None

    def address(self) -> str:
        """A secret.

        Raises:
            caudal.environment.NoSecret: it is not set.

        """
        return secret(self.variable, self.file)


@dataclass(frozen=True)
class Route:
    """Who is told about what.

    Attributes:
        owners: patterns such as `team:data-*`, of which one must fit an owner.
        kinds: of problems; () is all.
        channels: names.
    """

    owners: tuple[str, ...]
    channels: tuple[str, ...]
    kinds: tuple[str, ...] = ()

    def fits(self, kind: str, owners: Sequence[str]) -> bool:
        by_owner = any(fnmatchcase(owner, pattern) for owner in owners for pattern in self.owners)
        return by_owner and (not self.kinds or kind in self.kinds)


@dataclass(frozen=True)
class Growth:
    """How much a dataset's quarantine may grow within the window before somebody is told.

    Attributes:
        rows, files: more than so many. None: any number.
        share: more than this part of the rows read meanwhile, 0 to 1. None: any part.
    """

    rows: int | None = 100
    files: int | None = 0
    share: float | None = None


@dataclass(frozen=True)
class Settings:
    """Everything about alerts.

    Attributes:
        default: the channels of what no route fits.
        warnings: whether failed checks of severity WARN are told too.
        remind_hours: after how long people are reminded of what goes on: the first time, the second, ...; the last one repeats.
        growth: of every dataset that has none of its own in `growth_of`.
        window_hours: the time in which growth is measured, and after which a quarantine that grew no more is told so.
        ui_url: the start of links, without a slash at its end.
    """

    channels: Mapping[str, Channel] = field(default_factory=lambda: {LOG: Channel(LOG)})
    routes: tuple[Route, ...] = ()
    default: tuple[str, ...] = (LOG,)
    warnings: bool = False
    remind_hours: tuple[float, ...] = (4.0, 24.0)
    growth: Growth = field(default_factory=Growth)
    growth_of: Mapping[str, Growth] = field(default_factory=dict)
    window_hours: float = 24.0
    ui_url: str = ""

    def channels_for(self, kind: str, owners: Sequence[str]) -> tuple[str, ...]:
        """The names of the channels that are told, each once; never none."""
        told = [name for route in self.routes if route.fits(kind, owners) for name in route.channels]
        return tuple(dict.fromkeys(told or self.default))

    def remind_after_s(self, told: int) -> float:
        """Seconds from the last message to the next one about the same, when `told` messages were sent."""
        hours = self.remind_hours[min(max(told, 1), len(self.remind_hours)) - 1] if self.remind_hours else float("inf")
        return hours * 3600
