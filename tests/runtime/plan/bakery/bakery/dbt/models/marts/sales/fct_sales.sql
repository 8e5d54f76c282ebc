select sale_id, sold_on, customer, item, pieces, {{ rounded("amount") }} as amount
from {{ ref("stg_till__sales") }}
