{% macro rounded(amount) %}cast({{ amount }} as decimal(12, 2)){% endmacro %}
