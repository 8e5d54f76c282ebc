select
  InvoiceNo as invoice_no,
  StockCode as stock_code,
  Description as description,
  Quantity as quantity,
  InvoiceDate as invoiced_at,
  UnitPrice as unit_price,
  CustomerID as customer_id,
  Country as country,
  InvoiceNo like 'C%' as is_cancelled,
  Quantity * UnitPrice as amount
from {{ source('web', 'order_lines') }}
