select
    basket_id,
    -- A basket has one household, shop, time and week: a test holds its lines to it.
    min(household_id) as household_id,
    min(store_id) as store_id,
    min(transacted_at) as transacted_at,
    min(day) as day,
    min(week) as week,
    count(*) as lines,
    count(distinct department) as departments,
    cast(coalesce(sum(units), 0) as bigint) as units,
    {{ decimal("sum(sales)", 18, 2) }} as sales,
    {{ decimal("sum(retail_discount)", 18, 2) }} as retail_discount,
    {{ decimal("sum(coupon_discount)", 18, 2) }} as coupon_discount,
    {{ decimal("sum(coupon_match_discount)", 18, 2) }} as coupon_match_discount,
    max(case when is_fuel then 1 else 0 end) = 1 as has_fuel
from {{ ref("fct_basket_lines") }}
{{ where_changed("day") }}
group by basket_id
{{ in_order("transacted_at, basket_id") }}
