{#-
    The order in which a table's rows are stored, so that the same rows make the same table. DuckDB skips blocks by it;
    BigQuery sorts a whole result on one worker and clusters tables instead, so nothing is rendered for it.
-#}
{% macro in_order(columns) %}
    {{- return(adapter.dispatch("in_order", "shop")(columns)) -}}
{% endmacro %}

{% macro default__in_order(columns) -%}
    order by {{ columns }}
{%- endmacro %}

{% macro bigquery__in_order(columns) -%}
{%- endmacro %}
