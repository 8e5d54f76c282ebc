{#-
    Numbers that are the same on both engines, by value and by type. BigQuery knows no digits in a CAST; those that a contract
    declares it keeps in the table. Both engines round halves away from zero.
-#}

{#- An exact value (a whole number, a decimal or its text) as a decimal of so many digits. -#}
{% macro decimal(expression, precision, scale) %}
    {{- return(adapter.dispatch("decimal", "shop")(expression, precision, scale)) -}}
{% endmacro %}

{% macro default__decimal(expression, precision, scale) -%}
    cast({{ expression }} as decimal({{ precision }}, {{ scale }}))
{%- endmacro %}

{% macro bigquery__decimal(expression, precision, scale) -%}
    {%- set kind = "numeric" if scale <= 9 and precision - scale <= 29 else "bignumeric" -%}
    round(cast({{ expression }} as {{ kind }}), {{ scale }})
{%- endmacro %}

{#-
    The quotient of two whole numbers, rounded once, as a decimal; null where the second one is 0 or either is null. A division
    of decimals is inexact in DuckDB, and is rounded to nine digits in BigQuery before it could be rounded to fewer. It is done in
    whole numbers of 64 bits: a numerator of more than 9e18 / (2 * 10 ** scale) is refused by both.
-#}
{% macro ratio(numerator, denominator, precision, scale) -%}
    {%- set n, d = "cast(" ~ numerator ~ " as bigint)", "cast(" ~ denominator ~ " as bigint)" -%}
    {%- set halves = "(abs(" ~ n ~ ") * " ~ 2 * 10 ** scale ~ " + abs(" ~ d ~ "))" -%}
    {{- return(adapter.dispatch("ratio", "shop")(n, d, halves, precision, scale)) -}}
{%- endmacro %}

{% macro default__ratio(n, d, halves, precision, scale) -%}
    cast(
        cast(sign({{ n }}) * sign({{ d }}) * ({{ halves }} // nullif(2 * abs({{ d }}), 0)) as decimal(19, 0))
        * {{ "%.*f" | format(scale, 10 ** -scale) }} as decimal({{ precision }}, {{ scale }})
    )
{%- endmacro %}

{% macro bigquery__ratio(n, d, halves, precision, scale) -%}
    {%- set kind = "numeric" if scale <= 9 and precision - scale <= 29 else "bignumeric" -%}
    round(
        cast(sign({{ n }}) * sign({{ d }}) * div({{ halves }}, nullif(2 * abs({{ d }}), 0)) as {{ kind }})
        / {{ 10 ** scale }}, {{ scale }}
    )
{%- endmacro %}

{#- The whole part of the quotient of two whole numbers, cut towards zero; null where the second one is 0. -#}
{% macro whole_quotient(numerator, denominator) %}
    {{- return(adapter.dispatch("whole_quotient", "shop")(numerator, denominator)) -}}
{% endmacro %}

{% macro default__whole_quotient(numerator, denominator) -%}
    cast({{ numerator }} as bigint) // nullif(cast({{ denominator }} as bigint), 0)
{%- endmacro %}

{% macro bigquery__whole_quotient(numerator, denominator) -%}
    div(cast({{ numerator }} as int64), nullif(cast({{ denominator }} as int64), 0))
{%- endmacro %}
