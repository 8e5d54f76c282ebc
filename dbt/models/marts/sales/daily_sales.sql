with

by_department as (
    select
        day,
        department,
        {{ decimal("sum(sales)", 18, 2) }} as sales,
        cast(coalesce(sum(units), 0) as bigint) as units,
        count(*) as lines,
        count(distinct basket_id) as baskets,
        count(distinct household_id) as households,
        count(distinct store_id) as stores,
        {{ decimal("sum(retail_discount)", 18, 2) }} as retail_discount,
        {{ decimal("sum(coupon_discount)", 18, 2) }} as coupon_discount,
        {{ decimal("sum(coupon_match_discount)", 18, 2) }} as coupon_match_discount
    from {{ ref("fct_basket_lines") }}
    {{ where_changed("day") }}
    group by day, department
),

-- The day before this one was the newest is complete now.
all_days as (
    select * from by_department
    {{ and_carried(
        "day",
        "day, department, sales, units, lines, baskets, households, stores, "
        ~ "retail_discount, coupon_discount, coupon_match_discount"
    ) }}
)

select
    day,
    department,
    sales,
    units,
    lines,
    baskets,
    households,
    stores,
    retail_discount,
    coupon_discount,
    coupon_match_discount,
    -- The last day of all may still be growing.
    day < max(day) over () as is_complete
from all_days
{{ in_order("day, department") }}
