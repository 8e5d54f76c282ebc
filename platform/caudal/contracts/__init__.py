"""What a dataset promises, written once in ODCS v3.1 YAML, and its views: Arrow, DuckDB, BigQuery, Dagster and dbt."""

from caudal.contracts.columns import Column, LogicalType
from caudal.contracts.contract import LINEAGE_COLUMNS, Contract, DriftPolicy, read_contract
from caudal.contracts.layout import Layout

__all__ = ["LINEAGE_COLUMNS", "Column", "Contract", "DriftPolicy", "Layout", "LogicalType", "read_contract"]
