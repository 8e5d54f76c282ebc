select sale_id, sold_on, customer, item, pieces, amount
from {{ source("till", "sales") }}
