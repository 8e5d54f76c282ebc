{{ config(materialized='ephemeral') }} select * from {{ ref('stg_pos__sales') }} where is_paid
