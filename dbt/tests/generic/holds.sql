{#- Every row satisfies `expression`; one for which it is unknown does not. -#}
{% test holds(model, expression) %}
    select *
    from {{ model }}
    where not coalesce({{ expression }}, false)
{% endtest %}
