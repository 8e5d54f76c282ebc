select
    lines.basket_id,
    lines.product_id,
    lines.household_id,
    lines.store_id,
    lines.transacted_at,
    lines.day,
    lines.week,
    coalesce(products.department, 'UNKNOWN') as department,
    coalesce(products.is_fuel, false) as is_fuel,
    lines.quantity,
    case when not coalesce(products.is_fuel, false) then lines.quantity end as units,
    lines.sales,
    lines.retail_discount,
    lines.coupon_discount,
    lines.coupon_match_discount
from {{ ref("stg_pos__transactions") }} as lines
left join {{ ref("dim_product") }} as products on lines.product_id = products.product_id
{{ where_changed("lines.day", moment="lines.transacted_at") }}
{{ in_order("transacted_at, basket_id, product_id") }}
