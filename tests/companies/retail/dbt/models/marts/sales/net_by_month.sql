select
  cast(date_trunc('month', invoiced_at) as date) as month,
  sum(amount) as net_amount,
  count(*) as order_lines
from {{ ref('stg_web__order_lines') }}
group by 1
