"""What a dataset promises, written once in ODCS v3.1 YAML, and its views: Arrow, DuckDB, BigQuery, Dagster and dbt."""

from caudal.contracts.columns import Column, LogicalType
from caudal.contracts.contract import LINEAGE_COLUMNS, Contract, DriftPolicy, read_contract

__all__ = ["LINEAGE_COLUMNS", "Column", "Contract", "DriftPolicy", "LogicalType", "read_contract"]
