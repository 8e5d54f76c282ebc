select
    day,
    week,
    cast(sum(lines) as bigint) as lines,
    count(*) as baskets,
    {{ decimal("sum(sales)", 18, 2) }} as sales
from {{ ref("fct_baskets") }}
{{ where_changed("day") }}
group by day, week
{{ in_order("day, week") }}
