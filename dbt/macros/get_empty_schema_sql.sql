{#-
    What dbt holds a model's columns against, to keep its contract: an empty query with the declared types. BigQuery knows the
    digits of a number or the length of a text in the columns of a table alone, and refuses them in a CAST.
    https://cloud.google.com/bigquery/docs/reference/standard-sql/data-types#parameterized_data_types
-#}
{% macro bigquery__get_empty_schema_sql(columns) %}
    {%- for column in columns.values() if column.data_type is not defined -%}
        {{ exceptions.column_type_missing(column_names=[column.name]) }}
    {%- endfor %}
    select
        {%- for column in adapter.nest_column_data_types(columns).values() %}
        cast(null as {{ modules.re.sub("\\(\\s*\\d+\\s*(,\\s*\\d+\\s*)?\\)", "", column.data_type) }}) as
        {{ adapter.quote(column.name) }}{{ "," if not loop.last }}
        {%- endfor %}
{% endmacro %}
