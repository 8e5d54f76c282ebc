"""Looking at published tables: profiles, plots, notebooks, graph measures."""
