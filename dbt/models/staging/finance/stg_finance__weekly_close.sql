select
    week,
    week_start,
    transactions,
    baskets,
    {{ decimal("sales", 18, 2) }} as sales
from {{ source("finance", "weekly_close") }}
