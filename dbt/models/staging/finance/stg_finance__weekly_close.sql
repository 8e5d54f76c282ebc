select
    week,
    week_start,
    transactions,
    baskets,
    cast(sales as decimal(18, 2)) as sales
from {{ source("finance", "weekly_close") }}
