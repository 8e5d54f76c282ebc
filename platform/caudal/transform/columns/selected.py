"""The select list of a query, in which a `*` stands for many columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from caudal.transform.columns.expressions import Scope, value_of
from caudal.transform.columns.values import Column, Unresolved

if TYPE_CHECKING:
    from sqlglot import exp


class Projection:
    """The columns of a select list, as they come.

    Attributes:
        rest: the table whose other columns, which nobody declares, a `*` shows besides; None if there is none.

    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.columns: list[Column] = []
        self.rest: str | None = None

    def add(self, expression: exp.Expr) -> None:
        """One item of the list, which may be a `*`."""
        from sqlglot import exp

        bare = expression.unalias()
        if isinstance(bare, exp.Star):
            self._star(bare, None)
        elif isinstance(bare, exp.Column) and isinstance(bare.this, exp.Star):
            self._star(bare.this, bare.table.lower())
        else:
            name = expression.alias_or_name or expression.sql()
            if isinstance(expression, exp.Dot):
                name = expression.expression.name
            column = value_of(expression, self.scope, name)
            self.columns.append(column)
            if not (isinstance(bare, exp.Column) and bare.name.lower() == name.lower()):
                self.scope.aliases.setdefault(name.lower(), column)

    def _star(self, star: exp.Star, alias: str | None) -> None:
        left_out = {item.name.lower() for item in star.args.get("except_") or []}
        replaced = {item.alias.lower(): item for item in star.args.get("replace") or []}
        renamed = {item.this.name.lower(): item.alias for item in star.args.get("rename") or []}
        shown = self._shown(alias)
        for column in shown:
            key = column.name.lower()
            if key in left_out:
                continue
            if key in replaced:
                self.columns.append(value_of(replaced[key], self.scope, column.name))
            else:
                self.columns.append(replace(column, name=renamed.get(key, column.name)))
        if self.rest is not None and (left_out | set(replaced) | set(renamed)) - {column.name.lower() for column in shown}:
            raise Unresolved("* leaves out or replaces columns of a table whose columns nobody declares")

    def _shown(self, alias: str | None) -> list[Column]:
        """What `*` or `alias.*` shows. Of columns that a join merged, `*` shows one."""
        relations = [(a, r) for a, r in self.scope.seen() if alias is None or a == alias]
        if alias is not None and not relations:
            raise Unresolved(f"{alias}.* takes all fields of a value, or of a table that is not there")
        shown: dict[str, Column] = {}
        columns: list[Column] = []
        for name, relation in relations:
            if relation.is_open:
                if len(relations) > 1 or self.rest is not None:
                    raise Unresolved(f"* takes all columns of {name}, and nobody declares which these are")
                self.rest = relation.rest
            for key, column in relation.columns.items():
                if alias is None and key in self.scope.shared:
                    if key in shown:
                        continue
                    shown[key] = self.scope.shared[key]
                    columns.append(replace(self.scope.shared[key], name=column.name))
                else:
                    columns.append(column)
        return columns
