{#- All rows that agree in `key` agree in each of `columns`, none of which is null. -#}
{% test determines(model, key, columns) %}
    select {{ key }}
    from {{ model }}
    group by {{ key }}
    having
        {% for column in columns -%}
            min({{ column }}) <> max({{ column }}){{ " or " if not loop.last }}
        {%- endfor %}
{% endtest %}
