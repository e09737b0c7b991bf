"""`python -m weather_api`: serve the mock; host, port, key and rate come from the environment."""

import os
import sys

import uvicorn

from weather_api.app import RATE, weather_app

STOP_S = 2  # answers that are slow on purpose do not hold up the end


def main() -> None:
    """Serve until told to end."""
    key = os.environ.get("WEATHER_API_KEY", "")
    if not key:
        sys.exit("WEATHER_API_KEY is not set; give the key that clients are to send as appid")
    uvicorn.run(
        weather_app(key, _number("WEATHER_API_RATE", RATE)),
        host=os.environ.get("WEATHER_API_HOST") or "127.0.0.1",
        port=_number("WEATHER_API_PORT", 8090),
        access_log=False,  # its lines would have the key, which is part of the address
        timeout_graceful_shutdown=STOP_S,
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        sys.exit(f"{name}={text!r} is no number; give a whole one, such as {default}")
    return int(text)


if __name__ == "__main__":
    main()
