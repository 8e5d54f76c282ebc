{#-
    Texts that are read alike on both engines. Both know RE2's regular expressions; what they call them, and what a text is that
    no expression matches, differs. A pattern is given as it is, without doubling a backslash; it may hold no quote.
-#}

{#- Whether `pattern` is found anywhere in a text. -#}
{% macro matches(text, pattern) %}
    {{- return(adapter.dispatch("matches", "shop")(text, pattern)) -}}
{% endmacro %}

{% macro default__matches(text, pattern) -%}
    regexp_matches({{ text }}, '{{ pattern }}')
{%- endmacro %}

{% macro bigquery__matches(text, pattern) -%}
    regexp_contains({{ text }}, r'{{ pattern }}')
{%- endmacro %}

{#- What the one group of `pattern` matches first in a text; null where it is not found. -#}
{% macro extracted(text, pattern) %}
    {{- return(adapter.dispatch("extracted", "shop")(text, pattern)) -}}
{% endmacro %}

{% macro default__extracted(text, pattern) -%}
    case when regexp_matches({{ text }}, '{{ pattern }}') then regexp_extract({{ text }}, '{{ pattern }}', 1) end
{%- endmacro %}

{% macro bigquery__extracted(text, pattern) -%}
    regexp_extract({{ text }}, r'{{ pattern }}')
{%- endmacro %}

{#- A text with each match of `pattern` replaced; `\1` is the first group. -#}
{% macro replaced(text, pattern, replacement) %}
    {{- return(adapter.dispatch("replaced", "shop")(text, pattern, replacement)) -}}
{% endmacro %}

{% macro default__replaced(text, pattern, replacement) -%}
    regexp_replace({{ text }}, '{{ pattern }}', '{{ replacement }}', 'g')
{%- endmacro %}

{% macro bigquery__replaced(text, pattern, replacement) -%}
    regexp_replace({{ text }}, r'{{ pattern }}', r'{{ replacement }}')
{%- endmacro %}

{#- The n-th part, from 1, of a text that `delimiter` splits; null where there are fewer. -#}
{% macro part_of(text, delimiter, n) %}
    {{- return(adapter.dispatch("part_of", "shop")(text, delimiter, n)) -}}
{% endmacro %}

{% macro default__part_of(text, delimiter, n) -%}
    list_extract(string_split({{ text }}, '{{ delimiter }}'), {{ n }})
{%- endmacro %}

{% macro bigquery__part_of(text, delimiter, n) -%}
    split({{ text }}, '{{ delimiter }}')[safe_ordinal({{ n }})]
{%- endmacro %}

{#-
    A text that says a whole number, as one; null where it says anything else. DuckDB's own cast takes `1.5` and `1e3` as well,
    BigQuery's `0x1f`.
-#}
{% macro integer_or_null(text) -%}
    case when {{ matches(text, "^ *[+-]?[0-9]+ *$") }} then {{ cast_or_null("trim(" ~ text ~ ", ' ')", "bigint") }} end
{%- endmacro %}

{#- A text that says a decimal number with a point, as a decimal of so many digits; null where it says anything else. -#}
{% macro decimal_or_null(text, precision, scale) -%}
    {{- return(adapter.dispatch("decimal_or_null", "shop")(text, precision, scale)) -}}
{%- endmacro %}

{% macro default__decimal_or_null(text, precision, scale) -%}
    case
        when regexp_matches({{ text }}, '^ *[+-]?[0-9]+([.][0-9]+)? *$')
            then try_cast({{ text }} as decimal({{ precision }}, {{ scale }}))
    end
{%- endmacro %}

{% macro bigquery__decimal_or_null(text, precision, scale) -%}
    {%- set kind = "numeric" if scale <= 9 and precision - scale <= 29 else "bignumeric" -%}
    {%- set value = "round(safe_cast(trim(" ~ text ~ ", ' ') as bignumeric), " ~ scale ~ ")" -%}
    case
        when
            regexp_contains({{ text }}, r'^ *[+-]?[0-9]+([.][0-9]+)? *$')
            and abs({{ value }}) < bignumeric '1{{ "0" * (precision - scale) }}'
            then cast({{ value }} as {{ kind }})
    end
{%- endmacro %}

{#- A text that says a day as `2024-02-29`, as a date; null where it says anything else. -#}
{% macro date_or_null(text) -%}
    case when {{ matches(text, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$") }} then {{ cast_or_null(text, "date") }} end
{%- endmacro %}

{#- A cast that gives null where it cannot be done. What a text may look like differs: see the macros above for texts. -#}
{% macro cast_or_null(expression, kind) %}
    {{- return(adapter.dispatch("cast_or_null", "shop")(expression, kind)) -}}
{% endmacro %}

{% macro default__cast_or_null(expression, kind) -%}
    try_cast({{ expression }} as {{ kind }})
{%- endmacro %}

{% macro bigquery__cast_or_null(expression, kind) -%}
    safe_cast({{ expression }} as {{ kind }})
{%- endmacro %}
