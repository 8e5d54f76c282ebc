"""Excel workbooks: xlsx read by array operations over its XML; xls, xlsb and ods through calamine."""
