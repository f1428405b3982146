"""What Hemma's processes say to each other: one model per topic, no behaviour."""
