select
    campaign_id,
    household_id
from {{ source("product_db", "campaign_households") }}
