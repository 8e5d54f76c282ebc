select 1 as one where 1 <> 1
