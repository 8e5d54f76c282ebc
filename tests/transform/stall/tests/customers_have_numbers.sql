{{ config(meta={'dagster': {'ref': {'name': 'dim_customer'}}}) }}
select * from {{ ref('dim_customer') }} join {{ ref('fct_sales') }} using (customer_id) where customer_id <= 0
