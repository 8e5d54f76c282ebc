"""What lies in the lake: datasets as declared, the ledger of every file seen, readers of file formats, the sensor."""
