select s.amount from {{ ref('sales') }} s
where s.amount <> (select sum(amount) from {{ ref('fct_sales') }} where amount is not null)
