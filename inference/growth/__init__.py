"""The same lesion over time: align, link, measure change, judge, forecast. No network, no database."""
