select
    basket_id,
    product_id,
    household_id,
    store_id,
    -- As it is: BigQuery leaves out days by it, which it would not by an expression.
    transaction_timestamp as transacted_at,
    cast(transaction_timestamp as date) as day,
    week,
    quantity,
    {{ decimal("sales_value", 10, 2) }} as sales,
    {{ decimal("retail_disc", 10, 2) }} as retail_discount,
    {{ decimal("coupon_disc", 10, 2) }} as coupon_discount,
    {{ decimal("coupon_match_disc", 10, 2) }} as coupon_match_discount
from {{ source("pos", "transactions") }}
