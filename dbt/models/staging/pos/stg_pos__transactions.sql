select
    basket_id,
    product_id,
    household_id,
    store_id,
    cast(transaction_timestamp as datetime) as transacted_at,
    cast(transaction_timestamp as date) as day,
    week,
    quantity,
    cast(sales_value as decimal(10, 2)) as sales,
    cast(retail_disc as decimal(10, 2)) as retail_discount,
    cast(coupon_disc as decimal(10, 2)) as coupon_discount,
    cast(coupon_match_disc as decimal(10, 2)) as coupon_match_discount
from {{ source("pos", "transactions") }}
