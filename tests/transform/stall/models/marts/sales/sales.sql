select
    (select sum(amount) from {{ ref('fct_sales') }}) as amount,
    (select count(*) from {{ ref('tariffs') }}) as tariffs
