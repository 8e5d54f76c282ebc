"""What a document on a websocket would change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from caudal.runtime.access.roles import Role, needed_for_mutation


def mutations_in(query: str, variables: Mapping[str, Any] | None) -> Iterator[tuple[str, Role, Mapping[str, Any]]]:
    """Each mutation that any operation of the document selects, directly or in a fragment, with the role it needs.

    A document that is no GraphQL has none; whoever executes it refuses it.
    """
    from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse

    try:
        document = parse(query)
    except (GraphQLError, TypeError, RecursionError):
        return
    operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    for operation in operations:
        if operation.operation is not OperationType.MUTATION:
            continue
        for name in _fields(operation, document, set()):
            yield name, needed_for_mutation(name), dict(variables or {})


def _fields(node: Any, document: Any, seen: set[str]) -> Iterator[str]:
    from graphql import FieldNode, FragmentDefinitionNode, FragmentSpreadNode

    for selection in node.selection_set.selections:
        if isinstance(selection, FieldNode):
            yield selection.name.value
        elif isinstance(selection, FragmentSpreadNode):
            name = selection.name.value
            for definition in document.definitions:
                if isinstance(definition, FragmentDefinitionNode) and definition.name.value == name and name not in seen:
                    yield from _fields(definition, document, seen | {name})
        else:
            yield from _fields(selection, document, seen)
