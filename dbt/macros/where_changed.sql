{#-
    Keeps a large model to the days that are built anew, by a column that is the day of both its input and its output. Nothing
    is rendered where the whole model is built: locally, for the first time, and when its code or another input changed.
    Caudal says which days these are, by what loaders changed since the table was built: see the guide, "Google Cloud".

    Where the input is partitioned by another column, a `timestamp` of which that is the day, it is given as `moment`: BigQuery
    leaves out partitions by comparisons of the partitioning column itself with constants, also through a view that passes it
    on as it is. https://cloud.google.com/bigquery/docs/querying-partitioned-tables#best_practices_for_partition_pruning
-#}
{% macro where_changed(column, moment=none) -%}
    {%- if is_incremental() and config.get("partitions") -%}
        {%- set days = config.get("partitions") | reject("in", config.get("carried") or []) | list -%}
        where
        {%- if moment is none %} {{ column }} in ({{ days | join(", ") }})
        {%- else %} {{ on_days(moment, days) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#-
    Keeps what a test compares its model with to the days that the test looks at, if these are not all. Caudal says so of tests
    whose `meta.by_day` is true; the model itself is kept to them anyhow. See the guide, "Google Cloud".
-#}
{% macro where_tested(column, moment=none) -%}
    {%- if config.get("tested_days") -%}
        where
        {%- if moment is none %} {{ column }} in ({{ config.get("tested_days") | join(", ") }})
        {%- else %} {{ on_days(moment, config.get("tested_days")) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#-
    The rows, as `columns`, of days that did not change themselves, and are said something else of because other days did: to be
    added to those of `where_changed`. They are read from the model's own table.
-#}
{% macro and_carried(column, columns) -%}
    {%- if is_incremental() and config.get("carried") -%}
        union all
        select {{ columns }}
        from {{ this }}
        where {{ column }} in ({{ config.get("carried") | join(", ") }})
    {%- endif -%}
{%- endmacro %}

{#- Whether a `timestamp` is on one of some days, which are literals in order: within a range of them all, and of neighbours. -#}
{% macro on_days(moment, days) -%}
    {%- set datetime, ranges = modules.datetime.datetime, [] -%}
    {%- for literal in days -%}
        {%- set day = datetime.strptime(literal, "date '%Y-%m-%d'") -%}
        {%- set next = day + modules.datetime.timedelta(days=1) -%}
        {%- if ranges and ranges[-1][1] == day -%}
            {%- do ranges.append((ranges.pop()[0], next)) -%}
        {%- else -%}
            {%- do ranges.append((day, next)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ moment }} >= datetime '{{ ranges[0][0] }}' and {{ moment }} < datetime '{{ ranges[-1][1] }}'
    {%- if ranges | length > 1 %}
        and (
            {%- for first, end in ranges %}
            {{ "or " if not loop.first }}({{ moment }} >= datetime '{{ first }}' and {{ moment }} < datetime '{{ end }}')
            {%- endfor %}
        )
    {%- endif -%}
{%- endmacro %}
