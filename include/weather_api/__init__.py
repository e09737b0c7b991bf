"""A mock of OpenWeatherMap's current weather API: made-up weather of real cities, over HTTP."""
