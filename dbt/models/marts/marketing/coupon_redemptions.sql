with

coupons as (
    select
        campaign_id,
        coupon_upc,
        count(distinct product_id) as products
    from {{ ref("stg_product_db__coupons") }}
    group by campaign_id, coupon_upc
)

select
    redemptions.household_id,
    redemptions.coupon_upc,
    redemptions.campaign_id,
    redemptions.redemption_date,
    campaigns.campaign_type,
    {{ days_between("campaigns.start_date", "redemptions.redemption_date") }} as days_since_start,
    coalesce(coupons.products, 0) as products,
    targets.household_id is not null as is_targeted
from {{ ref("stg_pos__redemptions") }} as redemptions
left join {{ ref("stg_product_db__campaigns") }} as campaigns
    on redemptions.campaign_id = campaigns.campaign_id
left join coupons
    on
        redemptions.campaign_id = coupons.campaign_id
        and redemptions.coupon_upc = coupons.coupon_upc
left join {{ ref("stg_product_db__campaign_households") }} as targets
    on
        redemptions.campaign_id = targets.campaign_id
        and redemptions.household_id = targets.household_id
{{ in_order("redemption_date, household_id, campaign_id, coupon_upc") }}
