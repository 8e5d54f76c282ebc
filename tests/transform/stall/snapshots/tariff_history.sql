{% snapshot tariff_history %}{{ config(strategy='check', check_cols=['discount'], unique_key='tariff', schema='snapshots') }} select * from {{ ref('tariffs') }}{% endsnapshot %}
