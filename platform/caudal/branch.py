"""What a branch is called where its environment keeps data, and where that is."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from caudal.google_cloud import GoogleCloud

_FIT = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*")
_NOT_FIT = re.compile(r"[^a-z0-9]+")

#: With its digest a short name fits into a label, https://cloud.google.com/bigquery/docs/labels-intro#requirements
_LONGEST = 40


def short_name(branch: str) -> str:
    """`branch` in small letters, digits and single `_`. No two branches share one: a name that had to change ends in a digest.

    No two `_` follow each other and none is at an end, so that what begins with `<short name>__` is of this branch alone.
    """
    if len(branch) <= _LONGEST and _FIT.fullmatch(branch):
        return branch
    digest = hashlib.sha256(branch.encode()).hexdigest()[:8]
    told = _NOT_FIT.sub("_", branch.lower()).strip("_")[:_LONGEST].strip("_")
    return f"{told}_{digest}" if told else digest


class BranchPlaces:
    """The places of a branch's environment and of production, of which each `Environment` knows the other's."""

    if TYPE_CHECKING:

        @property
        def data(self) -> Path: ...
        @property
        def branch(self) -> str | None: ...
        @property
        def cloud(self) -> GoogleCloud | None: ...
        @property
        def home(self) -> Path: ...
        @property
        def lake(self) -> Path: ...
        @property
        def lake_url(self) -> str: ...

    def of_branch(self, branch: str) -> Self:
        """The environment of `branch` beside this production. A `data` or `cloud` that is the branch's already stays."""
        short = short_name(branch)
        own = self.data if self.data.parts[-2:] == ("branches", short) else self.data / "branches" / short
        cloud = self.cloud.of_branch(short) if self.cloud else None
        # Production's notifications are production's: who acknowledges one takes it away.
        return replace(self, branch=branch, data=own, cloud=cloud, lake_notifications=None)  # ty: ignore[invalid-argument-type]

    @property
    def production(self) -> Self:
        """The environment whose branch this is; itself if it is none."""
        if self.branch is None:
            return self
        cloud = self.cloud.production if self.cloud else None
        return replace(self, branch=None, data=self.data.parent.parent, cloud=cloud)  # ty: ignore[invalid-argument-type]

    @property
    def branch_record(self) -> Path:
        """What is known of this branch's environment; written when it is whole."""
        return self.home / "branch.json"

    @property
    def branch_lake(self) -> Path:
        """Of which places the lake of a branch consists, for `caudal.store.overlay`."""
        return self.home / "branch_lake.db"

    @property
    def own_lake_url(self) -> str:
        """Where new files of this environment land."""
        return self.lake_url if self.branch is None else self.cloud.folder("lake") if self.cloud else str(self.lake)
