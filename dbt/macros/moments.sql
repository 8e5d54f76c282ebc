{#-
    Dates and times that are the same on both engines. A `timestamp with time zone` is BigQuery's TIMESTAMP, a moment; a
    `timestamp` is its DATETIME, what a clock shows. From one to the other it takes a time zone: a plain CAST takes UTC on BigQuery,
    and on DuckDB the zone of whoever's machine it is.
-#}

{#- What a clock in `zone` shows at a moment. -#}
{% macro clock_of(moment, zone="UTC") %}
    {{- return(adapter.dispatch("clock_of", "shop")(moment, zone)) -}}
{% endmacro %}

{% macro default__clock_of(moment, zone) -%}
    timezone('{{ zone }}', {{ moment }})
{%- endmacro %}

{% macro bigquery__clock_of(moment, zone) -%}
    datetime({{ moment }}, '{{ zone }}')
{%- endmacro %}

{#- The day that it is in `zone` at a moment. -#}
{% macro day_of(moment, zone="UTC") %}
    {{- return(adapter.dispatch("day_of", "shop")(moment, zone)) -}}
{% endmacro %}

{% macro default__day_of(moment, zone) -%}
    cast(timezone('{{ zone }}', {{ moment }}) as date)
{%- endmacro %}

{% macro bigquery__day_of(moment, zone) -%}
    date({{ moment }}, '{{ zone }}')
{%- endmacro %}

{#- The moment at which a clock in `zone` shows a `timestamp`. -#}
{% macro moment_of(clock, zone="UTC") %}
    {{- return(adapter.dispatch("moment_of", "shop")(clock, zone)) -}}
{% endmacro %}

{% macro default__moment_of(clock, zone) -%}
    timezone('{{ zone }}', cast({{ clock }} as timestamp))
{%- endmacro %}

{% macro bigquery__moment_of(clock, zone) -%}
    timestamp({{ clock }}, '{{ zone }}')
{%- endmacro %}

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

{#- The date so many days after another; before it, if `days` is less than 0. -#}
{% macro days_later(date, days) %}
    {{- return(adapter.dispatch("days_later", "shop")(date, days)) -}}
{% endmacro %}

{% macro default__days_later(date, days) -%}
    cast({{ date }} as date) + cast({{ days }} as integer)
{%- endmacro %}

{% macro bigquery__days_later(date, days) -%}
    date_add({{ date }}, interval {{ days }} day)
{%- endmacro %}

{#- The Monday of a date's week. -#}
{% macro monday_of(date) %}
    {{- return(adapter.dispatch("monday_of", "shop")(date)) -}}
{% endmacro %}

{% macro default__monday_of(date) -%}
    cast(date_trunc('week', {{ date }}) as date)
{%- endmacro %}

{% macro bigquery__monday_of(date) -%}
    date_trunc({{ date }}, isoweek)
{%- endmacro %}

{#- The day of the week, from 1, a Monday, to 7. -#}
{% macro weekday_of(date) %}
    {{- return(adapter.dispatch("weekday_of", "shop")(date)) -}}
{% endmacro %}

{% macro default__weekday_of(date) -%}
    isodow({{ date }})
{%- endmacro %}

{% macro bigquery__weekday_of(date) -%}
    mod(extract(dayofweek from {{ date }}) + 5, 7) + 1
{%- endmacro %}
