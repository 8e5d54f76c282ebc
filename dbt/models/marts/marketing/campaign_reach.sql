with

campaigns as (
    select * from {{ ref("stg_product_db__campaigns") }}
),

coupons as (
    select
        campaign_id,
        count(distinct coupon_upc) as coupons,
        count(distinct product_id) as products
    from {{ ref("stg_product_db__coupons") }}
    group by campaign_id
),

targeted as (
    select
        campaign_id,
        count(*) as households_targeted
    from {{ ref("stg_product_db__campaign_households") }}
    group by campaign_id
),

shopping as (
    select
        targets.campaign_id,
        count(distinct baskets.household_id) as households_shopping
    from {{ ref("stg_product_db__campaign_households") }} as targets
    inner join campaigns on targets.campaign_id = campaigns.campaign_id
    inner join {{ ref("fct_baskets") }} as baskets
        on
            targets.household_id = baskets.household_id
            and baskets.day between campaigns.start_date and campaigns.end_date
    group by targets.campaign_id
),

redeeming as (
    select
        campaign_id,
        count(distinct household_id) as households_redeeming,
        count(*) as redemptions
    from {{ ref("stg_pos__redemptions") }}
    group by campaign_id
)

select
    campaigns.campaign_id,
    campaigns.campaign_type,
    campaigns.start_date,
    campaigns.end_date,
    {{ days_between("campaigns.start_date", "campaigns.end_date") }} + 1 as days,
    coalesce(coupons.coupons, 0) as coupons,
    coalesce(coupons.products, 0) as products,
    coalesce(targeted.households_targeted, 0) as households_targeted,
    coalesce(shopping.households_shopping, 0) as households_shopping,
    coalesce(redeeming.households_redeeming, 0) as households_redeeming,
    coalesce(redeeming.redemptions, 0) as redemptions,
    {{ ratio("coalesce(redeeming.households_redeeming, 0)", "targeted.households_targeted", 9, 6) }}
        as redemption_rate
from campaigns
left join coupons on campaigns.campaign_id = coupons.campaign_id
left join targeted on campaigns.campaign_id = targeted.campaign_id
left join shopping on campaigns.campaign_id = shopping.campaign_id
left join redeeming on campaigns.campaign_id = redeeming.campaign_id
{{ in_order("campaign_id") }}
