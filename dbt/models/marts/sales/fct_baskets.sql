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
    cast(sum(sales) as decimal(18, 2)) as sales,
    cast(sum(retail_discount) as decimal(18, 2)) as retail_discount,
    cast(sum(coupon_discount) as decimal(18, 2)) as coupon_discount,
    cast(sum(coupon_match_discount) as decimal(18, 2)) as coupon_match_discount,
    max(case when is_fuel then 1 else 0 end) = 1 as has_fuel
from {{ ref("fct_basket_lines") }}
group by basket_id
{{ in_order("transacted_at, basket_id") }}
