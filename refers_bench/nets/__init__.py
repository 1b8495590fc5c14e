"""Network parts: radiograph transformer, view fusion, report transformer, losses."""
