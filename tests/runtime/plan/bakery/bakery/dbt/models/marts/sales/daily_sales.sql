select sold_on, item, sum(pieces) as pieces, {{ rounded("sum(amount)") }} as amount
from {{ ref("fct_sales") }}
group by sold_on, item
