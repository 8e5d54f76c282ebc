select sale_id, customer_id, amount, {{ cents('amount') }} as cents from {{ ref('paid') }}
