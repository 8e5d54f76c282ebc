"""Dagster's request context with the identity of who asks, so that the UI greys what that person may not do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster._core.workspace.context import BaseWorkspaceRequestContext, WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.permissions import (
    LOCATION_SCOPED_PERMISSIONS,
    PermissionResult,
    Permissions,
    get_user_permissions,
)

from caudal.runtime.access.identity import SCOPE_KEY, Identity
from caudal.runtime.access.roles import Role, needed_for_permission


def permissions_of(role: Role | None) -> Mapping[str, PermissionResult]:
    """Dagster's permissions of the role, none without one. What no release of Dagster allows stays forbidden."""
    stock = get_user_permissions(read_only=False)
    return {name: _permission(name, result, role) for name, result in stock.items()}


def _permission(name: str, stock: PermissionResult, role: Role | None) -> PermissionResult:
    needed = needed_for_permission(str(name))
    if role is None or not role.covers(needed):
        return PermissionResult(enabled=False, disabled_reason=f"Needs the role {needed.value}")
    return stock


class RoleRequestContext(WorkspaceRequestContext):
    """A request of somebody. Without a request, of nobody."""

    def __init__(self, *, identity: Identity | None, **stock: Any) -> None:
        role = identity.role if identity else None
        super().__init__(read_only=role is None or not role.covers(Role.EDITOR), **stock)
        self._identity = identity
        self._permissions = permissions_of(role)

    @property
    def identity(self) -> Identity:
        """Who asks.

        Raises:
            PermissionError: this is no request of anybody.
        """
        if self._identity is None:
            raise PermissionError("This request has no identity; the door of the webserver was not passed")
        return self._identity

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        return self._permissions

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:  # noqa: ARG002
        return {name: result for name, result in self._permissions.items() if Permissions(name) in LOCATION_SCOPED_PERMISSIONS}

    @property
    def show_instance_config(self) -> bool:
        """Whether `dagster.yaml` is shown, which may hold addresses and passwords."""
        return self._identity is not None and self._identity.role.covers(Role.ADMIN)

    # What was reloaded is shown to the same person, not to nobody.

    def reload_code_location(self, name: str) -> BaseWorkspaceRequestContext:
        self.process_context.reload_code_location(name)
        return self.process_context.create_request_context(self.source)

    def reload_workspace(self) -> BaseWorkspaceRequestContext:
        self.process_context.reload_workspace()
        return self.process_context.create_request_context(self.source)


class RoleProcessContext(WorkspaceProcessContext):
    """Makes a context for each request, out of what the door found."""

    def create_request_context(self, source: object | None = None) -> RoleRequestContext:
        scope = getattr(source, "scope", {})
        return RoleRequestContext(
            identity=scope.get(SCOPE_KEY),
            instance=self._instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
        )
