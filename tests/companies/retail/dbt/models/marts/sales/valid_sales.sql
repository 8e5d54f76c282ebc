select *
from {{ ref('stg_web__order_lines') }}
where not is_cancelled and quantity > 0 and unit_price > 0
