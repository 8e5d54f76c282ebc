with

sold as (
    select
        day,
        product_id,
        sales
    from {{ ref("stg_pos__transactions") }}
    {{ where_changed("day", moment="transacted_at") }}
)

select
    sold.day,
    sold.product_id,
    count(*) as lines,
    {{ decimal("sum(sold.sales)", 18, 2) }} as sales
from sold
left join {{ ref("stg_product_db__products") }} as products on sold.product_id = products.product_id
where products.product_id is null
group by sold.day, sold.product_id
{{ in_order("sold.day, sold.product_id") }}
