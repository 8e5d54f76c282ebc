select distinct customer_id from {{ ref('stg_pos__sales') }} where customer_id is not null
