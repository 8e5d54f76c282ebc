{#- Whole days from one date to another; less than 0 if `end` is before `start`. -#}
{% macro days_between(start, end) %}
    {{- return(adapter.dispatch("days_between", "shop")(start, end)) -}}
{% endmacro %}

{% macro default__days_between(start, end) -%}
    date_diff('day', {{ start }}, {{ end }})
{%- endmacro %}

{% macro bigquery__days_between(start, end) -%}
    date_diff({{ end }}, {{ start }}, day)
{%- endmacro %}
