with

warehouse as (
    select
        week,
        cast(sum(lines) as bigint) as transactions,
        cast(sum(baskets) as bigint) as baskets,
        sum(sales) as sales
    from {{ ref("daily_totals") }}
    group by week
),

compared as (
    select
        coalesce(closed.week, warehouse.week) as week,
        closed.week_start,
        coalesce(warehouse.transactions, 0) as warehouse_transactions,
        coalesce(closed.transactions, 0) as closed_transactions,
        coalesce(warehouse.baskets, 0) as warehouse_baskets,
        coalesce(closed.baskets, 0) as closed_baskets,
        {{ decimal("coalesce(warehouse.sales, 0)", 18, 2) }} as warehouse_sales,
        {{ decimal("coalesce(closed.sales, 0)", 18, 2) }} as closed_sales
    from warehouse
    full outer join {{ ref("stg_finance__weekly_close") }} as closed on warehouse.week = closed.week
)

select
    week,
    week_start,
    warehouse_transactions,
    closed_transactions,
    warehouse_baskets,
    closed_baskets,
    warehouse_sales,
    closed_sales,
    {{ decimal("warehouse_sales - closed_sales", 18, 2) }} as sales_difference,
    warehouse_transactions = closed_transactions
    and warehouse_baskets = closed_baskets
    and warehouse_sales = closed_sales as is_reconciled
from compared
{{ in_order("week") }}
