select
    household_id,
    age as age_band,
    income as income_band,
    home_ownership,
    marital_status,
    household_size,
    household_comp as household_composition,
    kids_count as children
from {{ source("product_db", "households") }}
