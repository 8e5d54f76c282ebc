select
    coupon_upc,
    product_id,
    campaign_id
from {{ source("product_db", "coupons") }}
