"""The part of ODCS v3.1 that Caudal reads, as a strict model. Standard fields that it only keeps are typed `Any`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

LOGICAL_TYPES = ("string", "integer", "number", "boolean", "date", "timestamp", "time", "object", "array")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CustomProperty(_Strict):
    """A named value that the standard leaves to us."""

    property: str
    value: Any
    id: str | None = None
    description: str | None = None


class LogicalTypeOptions(_Strict):
    """Limits on the values of a column."""

    format: str | None = None
    minimum: Any = None
    maximum: Any = None
    exclusiveMinimum: Any = None
    exclusiveMaximum: Any = None
    multipleOf: Any = None
    minLength: int | None = None
    maxLength: int | None = None
    pattern: str | None = None
    minItems: int | None = None
    maxItems: int | None = None
    uniqueItems: bool = False
    required: list[str] = []
    timezone: bool = False


class _BaseProperty(_Strict):
    """What a column, a property of an object, and the items of an array have in common."""

    logicalType: Literal[LOGICAL_TYPES]  # ty: ignore[invalid-type-form]
    physicalType: str | None = None
    logicalTypeOptions: LogicalTypeOptions = LogicalTypeOptions()
    description: str | None = None
    required: bool = False
    unique: bool = False
    primaryKey: bool = False
    primaryKeyPosition: int = -1
    classification: str | None = None
    customProperties: list[CustomProperty] = []
    id: Any = None
    businessName: Any = None
    physicalName: Any = None
    tags: Any = None
    examples: Any = None
    criticalDataElement: Any = None
    partitioned: Any = None
    partitionKeyPosition: Any = None
    quality: list[Any] | None = None
    relationships: Any = None
    authoritativeDefinitions: Any = None
    items: SchemaItem | None = None
    properties: list[SchemaProperty] | None = None
    transformSourceObjects: Any = None
    transformLogic: Any = None
    transformDescription: Any = None
    encryptedName: Any = None

    def custom(self, name: str) -> Any:
        """The value of the custom property `name`, or None."""
        return next((c.value for c in self.customProperties if c.property == name), None)


class SchemaItem(_BaseProperty):
    """What each item of an array is."""

    name: str = "items"


class SchemaProperty(_BaseProperty):
    """A column, or a property of an object."""

    name: str = Field(min_length=1)


class SchemaObject(_Strict):
    """A table."""

    name: str = Field(min_length=1)
    properties: list[SchemaProperty] = []
    description: str | None = None
    id: Any = None
    logicalType: Any = None
    physicalName: Any = None
    physicalType: Any = None
    businessName: Any = None
    dataGranularityDescription: Any = None
    tags: Any = None
    quality: Any = None
    relationships: Any = None
    authoritativeDefinitions: Any = None
    customProperties: Any = None


class DataContract(_Strict):
    """A whole contract."""

    apiVersion: str
    kind: Literal["DataContract"]
    id: str = Field(min_length=1)
    version: str
    status: str
    schema_: list[SchemaObject] = Field(alias="schema")
    name: str | None = None
    description: dict[str, Any] | None = None
    team: Any = None
    tags: list[str] | None = None
    customProperties: list[CustomProperty] | None = None
    tenant: Any = None
    domain: Any = None
    dataProduct: Any = None
    servers: Any = None
    support: Any = None
    price: Any = None
    roles: Any = None
    slaProperties: Any = None
    slaDefaultElement: Any = None
    authoritativeDefinitions: Any = None
    contractCreatedTs: Any = None

    @field_validator("apiVersion")
    @classmethod
    def _known_version(cls, value: str) -> str:
        if not value.startswith("v3."):
            raise ValueError(f"{value!r} is not a version that is understood; expected v3.1.0")
        return value

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_text(cls, value: Any) -> Any:
        return str(value)

    @property
    def purpose(self) -> str | None:
        return (self.description or {}).get("purpose")

    @property
    def owner(self) -> str | None:
        """The team's name: `team.name` (v3.1), or the first member with the role `owner`."""
        if isinstance(self.team, dict):
            return self.team.get("name")
        members = self.team if isinstance(self.team, list) else []
        named = [m for m in members if isinstance(m, dict)]
        owners = [m for m in named if m.get("role") == "owner"] or named
        return owners[0].get("name") or owners[0].get("username") if owners else None
