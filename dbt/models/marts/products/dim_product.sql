with

catalogue as (
    select * from {{ ref("stg_product_db__products") }}
),

mentioned as (
    select product_id from {{ ref("uncatalogued_sales") }}
    union all
    select product_id from {{ ref("stg_product_db__coupons") }}
),

missing as (
    select distinct mentioned.product_id
    from mentioned
    left join catalogue on mentioned.product_id = catalogue.product_id
    where catalogue.product_id is null
)

select
    product_id,
    manufacturer_id,
    department,
    brand,
    product_category,
    product_type,
    package_size,
    -- Every fuel product, in whatever department, has this type, and no other product has it.
    coalesce(product_type = 'GASOLINE-REG UNLEADED', false) as is_fuel,
    true as is_in_catalogue
from catalogue

union all

select
    product_id,
    cast(null as bigint) as manufacturer_id,
    'UNKNOWN' as department,
    cast(null as string) as brand,
    cast(null as string) as product_category,
    cast(null as string) as product_type,
    cast(null as string) as package_size,
    false as is_fuel,
    false as is_in_catalogue
from missing
{{ in_order("product_id") }}
