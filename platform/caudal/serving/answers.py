"""The shapes of what the API answers; its OpenAPI description is made of them."""

from pydantic import BaseModel, Field


class ForecastDay(BaseModel):
    """One day ahead."""

    date: str = Field(description="The day, YYYY-MM-DD.")
    value: float | None = Field(description="The forecast, in the unit of the table it was learned from.")
    lower: float | None = Field(description="Lower bound.")
    upper: float | None = Field(description="Upper bound.")


class ForecastAnswer(BaseModel):
    """The forecast of one series."""

    series: str
    model_version: str | None = Field(description="The champion that made it, `<name>/<version>`.")
    made_at: str | None = Field(description="When it was made, RFC 3339, UTC.")
    forecast: list[ForecastDay] = Field(description="By date, ascending.")
    store_version: str = Field(description="The version of the online store that answered.")


class SeriesAnswer(BaseModel):
    """Which series are forecast."""

    series: list[str]
    store_version: str


class RowAnswer(BaseModel):
    """One row of a table."""

    table: str
    key: str
    row: dict[str, object] = Field(description="Every column of the row. Decimals keep all their digits.")
    store_version: str


class TableAnswer(BaseModel):
    """A table that rows can be looked up in."""

    name: str
    relation: str = Field(description="The published table that it was made from.")
    key: str = Field(description="The column that rows are looked up by.")
    rows: int


class TablesAnswer(BaseModel):
    """Which tables rows can be looked up in."""

    tables: list[TableAnswer]
    store_version: str


class HealthAnswer(BaseModel):
    """What is served, and how old it is."""

    status: str
    company: str
    version: str = Field(description="The version of the online store.")
    warehouse_version: str | None = Field(description="The version of the warehouse that it was built from.")
    published_at: str = Field(description="RFC 3339, UTC.")
    age_s: float = Field(description="Seconds since it was published.")
    rows: dict[str, int] = Field(description="By table; forecasts are counted by day and series.")


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="What was not found, and what to do.")
    closest: list[str] = Field(default=[], description="Names that exist and come close.")
