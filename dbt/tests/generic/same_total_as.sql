{#- An aggregate `expression` is the same over this model as over `other`: no row is lost or repeated. -#}
{% test same_total_as(model, other, expression, other_expression=none) %}
    select
        here.total as total,
        there.total as other_total
    from (select {{ expression }} as total from {{ model }}) as here
    cross join (select {{ other_expression or expression }} as total from {{ other }}) as there
    where coalesce(here.total, 0) <> coalesce(there.total, 0)
{% endtest %}
