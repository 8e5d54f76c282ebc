with

known as (
    select * from {{ ref("stg_product_db__households") }}
),

targeted as (
    select
        household_id,
        count(*) as campaigns
    from {{ ref("stg_product_db__campaign_households") }}
    group by household_id
),

redeemed as (
    select
        household_id,
        count(*) as redemptions
    from {{ ref("stg_pos__redemptions") }}
    group by household_id
),

shopped as (
    select
        household_id,
        min(day) as first_day,
        max(day) as last_day,
        count(*) as baskets,
        sum(sales) as sales
    from {{ ref("fct_baskets") }}
    group by household_id
),

mentioned as (
    select household_id from shopped
    union all
    select household_id from known
    union all
    select household_id from targeted
    union all
    select household_id from redeemed
),

households as (
    select distinct household_id from mentioned
)

select
    households.household_id,
    known.household_id is not null as has_demographics,
    known.age_band,
    known.income_band,
    known.home_ownership,
    known.marital_status,
    known.household_size,
    known.household_composition,
    known.children,
    shopped.first_day,
    shopped.last_day,
    coalesce(shopped.baskets, 0) as baskets,
    {{ decimal("coalesce(shopped.sales, 0)", 18, 2) }} as sales,
    coalesce(targeted.campaigns, 0) as campaigns,
    coalesce(redeemed.redemptions, 0) as redemptions
from households
left join known on households.household_id = known.household_id
left join shopped on households.household_id = shopped.household_id
left join targeted on households.household_id = targeted.household_id
left join redeemed on households.household_id = redeemed.household_id
{{ in_order("household_id") }}
