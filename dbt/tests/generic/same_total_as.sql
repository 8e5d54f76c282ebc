{#-
    An aggregate `expression` is the same over this model as over `other`: no row is lost or repeated. With `by`, a column of
    both, it is so for each of its values; where that is the day, `moment` is what `other` is partitioned by instead, if anything.
-#}
{% test same_total_as(model, other, expression, other_expression=none, by=none, moment=none) %}
    select
        {%- if by is not none %}
        {{ by }},
        {%- endif %}
        here.total as total,
        there.total as other_total
    from (
        select {{ by ~ ", " if by is not none }}{{ expression }} as total
        from {{ model }}
        {%- if by is not none %}
        group by {{ by }}
        {%- endif %}
    ) as here
    {{ "full" if by is not none else "cross" }} join (
        select {{ by ~ ", " if by is not none }}{{ other_expression or expression }} as total
        from {{ other }}
        {%- if by is not none %}
        {{ where_tested(by, moment) }}
        group by {{ by }}
        {%- endif %}
    ) as there
    {%- if by is not none %} using ({{ by }}){% endif %}
    where coalesce(here.total, 0) <> coalesce(there.total, 0)
{% endtest %}
