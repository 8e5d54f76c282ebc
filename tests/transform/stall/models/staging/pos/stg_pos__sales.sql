select sale_id, customer_id, amount, is_paid from {{ source('pos', 'sales') }}
